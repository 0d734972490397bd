"""guest-image.py OUTPUT KERNEL SCRIPT: a first file system for a virtual machine, in the format that Linux unpacks at boot ("newc" of cpio).

Holds busybox, dhclient and the kernel modules of the folder KERNEL (see Scripts/guest-kernel), python3 with what the tests' own clients and servers
import, these themselves, and SCRIPT, a shell script that runs once eth0 has its addresses. Everything it prints goes to the serial console.
"""
import os
import re
import shutil
import subprocess
import sys

output, kernel, script = sys.argv[1:]
here = os.path.dirname(os.path.abspath(__file__))
drivers = [
    "crc-ccitt", "ipv6", "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover", "net_failover", "virtio_net",
]
# What else they need is part of the kernel.
drivers = [driver for driver in drivers if os.path.exists(f"{kernel}/modules/{driver}.ko")]
init = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
for driver in {" ".join(drivers)}; do insmod /modules/$driver.ko; done
for conf in /proc/sys/net/ipv6/conf/*; do echo 0 >$conf/accept_dad; done
ip link set lo up
# User-Mode Linux has names of its own.
[ ! -e /sys/class/net/vec0 ] || ip link set vec0 name eth0
ip link set eth0 up
udhcpc -q -n -i eth0 -O search -s /udhcpc
for i in $(seq 50); do ip -6 addr show dev eth0 | grep -q global && break; sleep 0.1; done
dhclient -6 -1 -sf /dhclient6 -cf /dhclient.conf -lf /tmp/leases -pf /tmp/dhclient.pid eth0
export PYTHONHOME={sys.base_prefix} PYTHONDONTWRITEBYTECODE=1
sh /script
echo "guest: status $?"
poweroff -f
"""
udhcpc = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
[ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
echo "guest: lease $ip/$mask router $router mtu $mtu dns $dns search $search"
"""
dhclient6 = """#!/bin/sh
[ "$reason" = BOUND6 ] || exit 0
ip -6 addr add "$new_ip6_address/128" dev "$interface"
echo "guest: DHCPv6 $new_ip6_address dns $new_dhcp6_name_servers search $new_dhcp6_domain_search" >/dev/console
"""
files = {"init": (0o755, init.encode()), "udhcpc": (0o755, udhcpc.encode()), "dhclient6": (0o755, dhclient6.encode())}


def add(path, name=None, mode=0o644):
    with open(path, "rb") as file:
        files[(name or path).lstrip("/")] = (mode, file.read())


for driver in drivers:
    add(f"{kernel}/modules/{driver}.ko", f"modules/{driver}.ko")
add(f"{kernel}/busybox", "bin/busybox", 0o755)
add(script, "script")
for helper in ["client.py", "server.py", "pattern.py"]:
    add(f"{here}/{helper}", helper)

# What the helpers import, by trying it out, and the libraries that it needs.
imports = "import errno, hashlib, select, socket, socketserver, struct, sys, threading, time, encodings.idna, encodings.ascii, encodings.latin_1, site"
listing = subprocess.run(
    ["python3", "-S", "-c", imports + "\nfor m in list(sys.modules.values()): print(getattr(m, '__file__', None) or '')"],
    check=True, capture_output=True, text=True).stdout.split()
python = os.path.realpath(subprocess.run(["python3", "-c", "import sys; print(sys.executable)"], check=True, capture_output=True, text=True).stdout.strip())
add(python, "bin/python3", 0o755)
# busybox has no client of DHCPv6.
dhclient = shutil.which("dhclient", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
add(dhclient, "bin/dhclient", 0o755)
add(f"{here}/dhclient.conf", "dhclient.conf")
libraries = set()
for path in listing + [python, dhclient]:
    if path not in (python, dhclient):
        add(path)
    if path in (python, dhclient) or path.endswith(".so"):
        libraries |= set(re.findall(r"(/\S+)", subprocess.run(["ldd", path], capture_output=True, text=True).stdout.replace(":", "")))
for library in libraries:
    add(library, mode=0o755)

folders = {"dev", "proc", "sys", "tmp", "bin"}
for name in files:
    while name := os.path.dirname(name):
        folders.add(name)
with open(output, "wb") as archive:
    def entry(name, mode, content=b""):
        head = "070701" + "".join("%08x" % value for value in (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0))
        record = head.encode() + name.encode() + b"\0"
        archive.write(record + b"\0" * (-len(record) % 4) + content + b"\0" * (-len(content) % 4))

    for folder in sorted(folders):
        entry(folder, 0o040755)
    for name, (mode, content) in files.items():
        entry(name, 0o100000 | mode, content)
    entry("TRAILER!!!", 0)
