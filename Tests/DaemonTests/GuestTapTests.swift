import Linux
import Setup
import Testing

@testable import Daemon

/// Why there is no tap, as the user is told.
@Suite struct GuestTapTests {
    @Test(arguments: [
        (2, "No /dev/net/tun: load the kernel module (modprobe tun) or give the container this device"),
        (13, "No permission to open /dev/net/tun: it must be readable and writable for this user"),
        (1, "No permission to open /dev/net/tun: the container around us forbids the device, give it one (--device /dev/net/tun)"),
        (24, "Couldn't open /dev/net/tun: Too many open files"),
    ] as [(Int32, String)])
    func device(_ code: Int32, _ expected: String) {
        #expect(GuestTap.refusal(ofDevice: Errno(code)) == SetupError(.namespace, expected))
    }

    /// The kernel says EINVAL where the name is that of something that is no tap. Loopback is in every namespace.
    @Test(arguments: [
        (16, "tap0", "Interface tap0 exists in the namespace already: choose another name with --ns-ifname"),
        (22, "lo", "Interface lo exists in the namespace already: choose another name with --ns-ifname"),
        (22, "no-such-name", "Couldn't create tap device no-such-name: Invalid argument"),
        (1, "lo", "Couldn't create tap device lo: Operation not permitted"),
    ] as [(Int32, String, String)])
    func name(_ code: Int32, _ name: String, _ expected: String) {
        #expect(GuestTap.refusal(of: name, Errno(code)) == SetupError(.namespace, expected))
    }
}
