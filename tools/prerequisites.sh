#!/bin/sh
# What the whole suite needs beside Python 3.11, Java 17 and Node.js 20: Maven (fetches Apache Kafka) and a Chromium
# (browser tests) and a dbus-daemon (Bluetooth tests). On Debian and as root it installs what is missing; elsewhere it says what to install.
set -eu
missing=""
command -v mvn >/dev/null || missing="$missing maven"
command -v chromium >/dev/null || missing="$missing chromium"
command -v dbus-daemon >/dev/null || missing="$missing dbus-daemon"
command -v java >/dev/null || missing="$missing openjdk-17-jre-headless"
command -v node >/dev/null || missing="$missing nodejs npm"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "please install:$missing" >&2
  exit 1
fi
apt-get update -q
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
