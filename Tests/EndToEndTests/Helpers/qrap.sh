# qrap.sh FOLDER: two sockets where passt would listen, the first of them busy; qrap of that folder, and a QEMU that talks to
# whom it was connected to. In a mount namespace of its own, because the paths are in /tmp.
set -eu
place=/run/qrap-test-$$
mkdir "$place"
mount --bind "$1" "$place"
mount -t tmpfs tmpfs /tmp
cd "$place"

cat >kvm <<'END'
#!/bin/sh
echo "arguments: $*"
echo hello >&"$DESCRIPTOR"
read answer <&"$DESCRIPTOR"
echo "answer: $answer"
ls /proc/self/fd | tr '\n' ' ' >open
END
cat >failing <<'END'
#!/bin/sh
exit 42
END
chmod +x kvm failing
PATH=$place:$PATH

echo "no passt:"
./qrap kvm 2>&1 || echo "status $?"
python3 - <<'END' &
import os, select, socket
listeners = []
for number in 1, 2, 3:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"/tmp/passt_{number}.socket")
    listener.listen()
    listeners.append(listener)
listeners.pop(0).close()
open("/tmp/ready", "w").close()
while True:
    for listener in select.select(listeners, [], [])[0]:
        connection, _ = listener.accept()
        if listener is listeners[0]:
            connection.close()
        else:
            line = connection.recv(100)
            if line: connection.sendall(line.upper())
END
server=$!
trap 'kill $server; wait $server || :; cd /; umount "$place"; rmdir "$place"' EXIT
while [ ! -e /tmp/ready ]; do sleep 0.01; done
echo "usual:"
DESCRIPTOR=5 ./qrap kvm -m 64
echo "named:"
DESCRIPTOR=9 ./qrap 9 kvm -netdev socket,id=n,fd=9
echo "statuses:"
./qrap failing || echo "status $?"
./qrap 5 absent 2>&1 || echo "status $?"
./qrap 5 /etc/passwd 2>&1 || echo "status $?"
