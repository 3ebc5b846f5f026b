#!/bin/bash
# The image's health check: succeeds if the member answers GET /readyz with 200, which takes a
# quorum behind it. bash alone, so that the image needs no HTTP client. The address must serve plain
# HTTP; a member with TLS has --listen-metrics-urls for it.
address=${ETCDD_READY_ADDRESS:-127.0.0.1:2379}
exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$address" >&3
read -r _ status _ <&3
cat <&3  # for `docker inspect`
[[ $status == 200 ]]
