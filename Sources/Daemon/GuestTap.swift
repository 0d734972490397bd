internal import Linux
internal import Setup
internal import Wire

/// The tap of the guest's namespace, opened and configured from inside by a helper.
struct GuestTap {
    var tap: Tap
    /// The guest's side of it.
    var mac: MACAddress?

    /// The helper's part. Without a name there is no tap, and only loopback is brought up.
    static func open(named name: String?, plan: NamespacePlan, log: Log, sendingOver channel: HelperChannel) throws(SetupError) {
        guard let name else {
            _ = try configure(plan)
            return try channel.send([])
        }
        let tap = try create(name)
        let configured = try configure(plan)
        for warning in configured.warnings { log.warning(warning) }
        try channel.send(encode(tap, configured.tap?.mac), [tap.descriptor])
    }

    /// Waits for what the helper has opened.
    static func receive(named name: String?, from channel: HelperChannel, log: Log) throws(SetupError) -> GuestTap {
        let message = try channel.receive()
        guard let name else { return GuestTap(tap: .absent, mac: nil) }
        guard let message, let descriptor = message.descriptors.first, let guest = decode(message.bytes, descriptor) else {
            throw SetupError(.namespace, "Couldn't receive the tap device \(name) from its namespace")
        }
        log.debug("Tap device \(name)\(guest.mac.map { ", MAC address \($0)" } ?? ""), \(describe(guest.tap))")
        return guest
    }

    private static func describe(_ tap: Tap) -> String {
        if tap.headerLength == 0 { return "no virtio-net headers: checksums in software, no segmentation offload" }
        let names: [(TapOffloads, String)] = [(.checksum, "checksums"), (.tcpSegmentation, "TCP segmentation"), (.udpSegmentation, "UDP segmentation")]
        let taken = names.filter { tap.offloads.contains($0.0) }.map(\.1)
        return "left to the kernel: " + (taken.isEmpty ? "nothing" : taken.joined(separator: ", "))
    }

    private static func create(_ name: String) throws(SetupError) -> Tap {
        let device: Descriptor
        do throws(Errno) { device = try Tap.openDevice() } catch { throw refusal(ofDevice: error) }
        do throws(Errno) { return try Tap.open(name: name, on: device) } catch { throw refusal(of: name, error) }
    }

    static func refusal(ofDevice error: Errno) -> SetupError {
        switch error.code {
        case 2, 6, 19:  // ENOENT, ENXIO, ENODEV
            SetupError(.namespace, "No /dev/net/tun: load the kernel module (modprobe tun) or give the container this device")
        case 13:  // EACCES
            SetupError(.namespace, "No permission to open /dev/net/tun: it must be readable and writable for this user")
        case 1:  // EPERM: a cgroup's list of devices; owners and modes say EACCES.
            SetupError(.namespace, "No permission to open /dev/net/tun: the container around us forbids the device, give it one (--device /dev/net/tun)")
        default:
            SetupError(.namespace, "Couldn't open /dev/net/tun", error)
        }
    }

    static func refusal(of name: String, _ error: Errno) -> SetupError {
        // EBUSY: a tap that is in use. EINVAL, where there is the name: no tap, or one of another kind.
        let isTaken = error.code == 16 || error.code == 22 && InterfaceNames.index(of: name) != nil
        guard isTaken else { return SetupError(.namespace, "Couldn't create tap device \(name)", error) }
        return SetupError(.namespace, "Interface \(name) exists in the namespace already: choose another name with --ns-ifname")
    }

    private static func configure(_ plan: NamespacePlan) throws(SetupError) -> ConfiguredNamespace {
        var netlink: NetlinkSocket
        do throws(Errno) { netlink = try NetlinkSocket() } catch {
            throw SetupError(.namespace, "Couldn't open a netlink socket in the namespace", error, hint: error.hintOfNetlink)
        }
        return try plan.apply(&netlink)
    }

    // Header length, offloads, then six bytes of MAC where it is known.
    private static func encode(_ tap: Tap, _ mac: MACAddress?) -> [UInt8] {
        var bytes = [UInt8(truncatingIfNeeded: tap.headerLength), UInt8(truncatingIfNeeded: tap.offloads.rawValue)]
        if let mac { bytes += (0..<6).map { UInt8(truncatingIfNeeded: mac.bits >> UInt64(40 - 8 * $0)) } }
        return bytes
    }

    private static func decode(_ bytes: [UInt8], _ descriptor: Descriptor) -> GuestTap? {
        guard bytes.count >= 2 else { return nil }
        let tap = Tap(descriptor: descriptor, headerLength: Int(bytes[0]), offloads: TapOffloads(rawValue: UInt32(bytes[1])))
        let mac = bytes.count == 8 ? bytes[2...].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } : nil
        return GuestTap(tap: tap, mac: mac.map { MACAddress($0) })
    }
}
