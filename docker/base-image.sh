#!/usr/bin/env bash
# Prints the name of a Debian bookworm image for BASE_IMAGE of docker/Dockerfile. That is Debian's
# own image where a registry is in reach. Elsewhere an equivalent is made of Debian's packages,
# once, with mmdebstrap; `docker rmi etcdd-base:bookworm` has it made anew.
set -euo pipefail

readonly PUBLISHED=debian:bookworm-slim
readonly OWN=etcdd-base:bookworm
readonly PULL_SECONDS=300

for image in "$PUBLISHED" "$OWN"; do
  if docker image inspect "$image" >/dev/null 2>&1; then
    echo "$image"
    exit
  fi
done
if timeout "$PULL_SECONDS" docker pull "$PUBLISHED" >&2; then
  echo "$PUBLISHED"
  exit
fi
if ! command -v mmdebstrap >/dev/null; then
  echo "base-image.sh: no registry in reach and no mmdebstrap (Debian package) to do without" >&2
  exit 1
fi
echo "base-image.sh: no registry in reach; making $OWN of Debian's packages" >&2
# A file between the two, so that an image cut short is never imported.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The directories are made merged, which spares the package that merges them, and its perl.
mmdebstrap --variant=apt --components=main \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  bookworm "$scratch/base.tar" >&2
docker import --change 'CMD ["bash"]' "$scratch/base.tar" "$OWN" >&2
echo "$OWN"
