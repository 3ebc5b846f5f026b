# The thin front of the build; CMakePresets.json and ctest do the work.

PACKAGES := $(shell sed '/^\#/d' packages.txt)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
JOBS ?= $(shell nproc)
# Where `make run` keeps its data.
DATA_DIR ?= default.etcd
# Prints, on one line, those of the packages that are not installed.
MISSING = for p in $(PACKAGES); do \
    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || printf '%s ' $$p; done

.PHONY: help run test bench format deps build release sanitize clean

help:
	@echo 'make run       build and start a member on port 2379, data in ./$(DATA_DIR)'
	@echo 'make test      build and pass all tests'
	@echo 'make bench     compare with Debian'"'"'s etcd (about 15 minutes)'
	@echo 'make sanitize  the fast tests under ASan+UBSan and TSan'
	@echo 'make format    format the sources'

deps:
	@missing=$$($(MISSING)); if [ -n "$$missing" ]; then \
	  echo "installing: $$missing"; \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; fi

release: deps
	@cmake --preset release > build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
	@rm -f build-configure.log
	cmake --build --preset release --target etcdd etcdd-bench -j $(JOBS)

build: deps
	@cmake --preset dev > build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
	@rm -f build-configure.log
	cmake --build --preset dev -j $(JOBS)

run: release
	exec build/release/cmd/etcdd/etcdd --data-dir $(DATA_DIR)

test: build
	ctest --preset dev

bench: release
	tests/bench/compare.sh

sanitize: deps
	cmake --preset asan-ubsan > /dev/null && cmake --build --preset asan-ubsan -j $(JOBS)
	ctest --preset asan-ubsan
	cmake --preset tsan > /dev/null && cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan

format:
	git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	rm -rf build
