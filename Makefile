# The thin front of the build; CMakePresets.json and ctest do the work.

PACKAGES := $(shell sed '/^\#/d' packages.txt)
TEST_PACKAGES := $(shell sed '/^\#/d' packages-test.txt)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
JOBS ?= $(shell nproc)
# Where `make run` and `make cluster` keep their data.
DATA_DIR ?= default.etcd
CLUSTER_DIR ?= cluster.etcd
# The plugin of today or the program of Debian 12, whichever is there.
COMPOSE = $$(docker compose version >/dev/null 2>&1 && echo docker compose || \
            echo docker-compose) -f docker/compose.yaml
# install_missing(packages): installs those that are not there.
IS_INSTALLED = dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed'
# configure(preset): quiet unless it fails.
configure = out=$$(cmake --preset $(1) 2>&1) || { echo "$$out"; exit 1; }
define install_missing
	@missing=$$(for p in $(1); do $(IS_INSTALLED) || printf '%s ' $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing: $$missing"; \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive \
	    $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; fi
endef

.PHONY: help run cluster compose compose-down test test-slow mutation bench sanitize format clean
.PHONY: deps deps-test install-test-packages build release image

help:
	@echo 'make run       build and start a member on port 2379, data in ./$(DATA_DIR)'
	@echo 'make cluster   build and start three members, data and logs in ./$(CLUSTER_DIR)'
	@echo 'make compose   the same in Docker; make compose-down removes all of it, data too'
	@echo 'make test      build and pass all tests'
	@echo 'make mutation  break raft/ rule by rule and see whether its tests notice'
	@echo 'make bench     compare with Debian'"'"'s etcd (about 15 minutes)'
	@echo 'make sanitize  the fast tests under ASan+UBSan and TSan'
	@echo 'make format    format the sources'

deps:
	$(call install_missing,$(PACKAGES))

# Debian's etcd-server starts a service on etcdd's own ports; the tests need only the program.
deps-test: deps
	@fresh=$$(p=etcd-server; $(IS_INSTALLED) || echo yes); \
	$(MAKE) --no-print-directory install-test-packages; \
	if [ -n "$$fresh" ] && [ -d /run/systemd/system ]; then \
	  $(SUDO) systemctl disable --now etcd; fi

install-test-packages:
	$(call install_missing,$(TEST_PACKAGES))

release: deps
	@$(call configure,release)
	cmake --build --preset release --target etcdd etcdd-bench -j $(JOBS)

build: deps-test
	@$(call configure,dev)
	cmake --build --preset dev -j $(JOBS)

run: release
	exec build/release/cmd/etcdd/etcdd --data-dir $(DATA_DIR)

cluster: release
	exec docker/local_cluster.sh build/release/cmd/etcdd/etcdd $(CLUSTER_DIR)

image:
	base=$$(docker/base-image.sh) && docker build --build-arg BASE_IMAGE="$$base" \
	  --build-arg JOBS=$(JOBS) -f docker/Dockerfile -t etcdd .

compose: image
	$(COMPOSE) up -d
	@$(COMPOSE) ps

compose-down:
	$(COMPOSE) down --volumes

test: build
	ctest --preset dev -LE slow

# With the tests that take minutes or judge the machine's speed.
test-slow: build
	ctest --preset dev -LE mutation

# Breaks raft/ rule by rule: would its tests notice?
mutation: build
	ctest --preset dev -L mutation

bench: release deps-test
	tests/bench/compare.sh

sanitize: deps-test
	@$(call configure,asan-ubsan)
	cmake --build --preset asan-ubsan -j $(JOBS)
	ctest --preset asan-ubsan
	@$(call configure,tsan)
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan

format:
	git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	rm -rf build
