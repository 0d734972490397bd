#!/usr/bin/env bash
# root.sh PASTA: what only root of the machine can try, in network, mount and process namespaces of their own. pasta and its helper become nobody and
# keep no right but the one to low ports; the command is root of its namespace, and nobody outside. All of it also where the tap's device is root's own. Set-up that fails
# halfway ends, with the command that waits.
set -euo pipefail
pasta=$1

fail() { echo "root: $*" >&2; exit 1; }

mount -t tmpfs tmpfs /run
mkdir /run/netns
if mknod /run/tun c 10 200 2>/dev/null; then
    chmod 600 /run/tun
    mount --bind /run/tun /dev/net/tun
fi
[[ $(stat -c %u:%a /dev/net/tun) == 0:600 ]] || echo "root: /dev/net/tun stays as it is, $(stat -c %u:%a /dev/net/tun)"
ip link set lo up
ip link add wan0 type veth peer name peer0
ip addr add 198.51.100.1/24 dev wan0
ip link set wan0 up
ip link set peer0 up
ip route add default via 198.51.100.254

# The line of /proc/PID/status that begins so, without the name: who it is outside, whoever asks.
status() { awk -v name="$2:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; }

# gone OPTION...: nothing of pasta is left, soon.
gone() {
    for _ in {1..40}; do
        pgrep -x pasta >/dev/null || return 0
        sleep 0.05
    done
    fail "$*: pasta is still there"
}

# check USER GROUP OPTION...
check() {
    local user=$1 group=$2 command map process count=0
    shift 2
    rm -f /run/inside
    "$pasta" --config-net "$@" -- sh -c 'cat /proc/self/uid_map; id -u; ip -o link show dev wan0; echo done; exec sleep 30' >/run/inside 2>&1 &
    local started=$!
    for _ in {1..100}; do
        grep -q done /run/inside 2>/dev/null && break
        kill -0 "$started" 2>/dev/null || break
        sleep 0.05
    done
    grep -q done /run/inside || fail "$*: $(cat /run/inside)"
    [[ $(tr -s ' ' ' ' <<<"$(sed -n 1p /run/inside)") == " 0 $user 1" && $(sed -n 2p /run/inside) == 0 ]] || fail "$*: the command is not root of its namespace: $(cat /run/inside)"
    command=$(pgrep -x sleep)
    for process in $command $(pgrep -x pasta); do
        [[ $(status "$process" Uid) == "$user $user $user $user" && $(status "$process" Gid) == "$group $group $group $group" ]] ||
            fail "$*: process $process is $(status "$process" Uid), groups $(status "$process" Gid)"
        [[ -z $(status "$process" Groups) ]] || fail "$*: process $process is in groups $(status "$process" Groups)"
        ((++count))
        [[ $process != "$command" ]] || continue
        case $(status "$process" CapPrm) in
        0000000000000000 | 0000000000000400) ;;
        *) fail "$*: process $process may $(status "$process" CapPrm)" ;;
        esac
    done
    ((count >= 3)) || fail "$*: $count processes instead of pasta, its helper and the command"
    kill -9 "$command"
    wait "$started" || true
    gone "$@"
}

# refused TEXT OPTION...: set-up that fails when the command's child waits already, which is another user by then, ends with status 1 and one line.
refused() {
    local words=$1 output status=0
    shift
    # SIGTERM would not end it before it is set up.
    output=$(timeout --signal=KILL 10 "$pasta" --config-net "$@" -- true 2>&1) || status=$?
    [[ $status == 1 && $output == *"$words"* && $(wc -l <<<"$output") == 1 ]] || fail "$*: status $status instead of 1 and '$words': $output"
    gone "$@"
}

check 65534 65534
check 1000 1000 --runas 1000:1000
check 0 0 --runas 0
for identity in "" "--runas 1000:1000" "--runas 0"; do
    # shellcheck disable=SC2086  # Words.
    refused "Interface lo exists in the namespace already" $identity -I lo
done
echo "root: pasta becomes nobody, and its command root of its namespace only; set-up that fails ends it"
