internal import CLinux

/// The work that the kernel leaves to, or takes over from, the far side of a tap.
public struct TapOffloads: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Frames may come with partial L4 checksums, and may be sent so.
    @inlinable public static var checksum: TapOffloads { TapOffloads(rawValue: 0x01) }
    /// TCP super-segments of either family.
    @inlinable public static var tcpSegmentation: TapOffloads { TapOffloads(rawValue: 0x02 | 0x04) }
    /// UDP super-datagrams of either family, Linux 6.2.
    @inlinable public static var udpSegmentation: TapOffloads { TapOffloads(rawValue: 0x20 | 0x40) }
}

/// A tap device of the namespace that the calling thread is in.
public struct Tap: Sendable {
    public let descriptor: Descriptor
    /// Bytes of virtio-net header before each frame: 10, or 0 where the kernel has none.
    public let headerLength: Int
    public let offloads: TapOffloads

    /// A tap that another process has opened.
    /// No device at all.
    public static var absent: Tap { Tap(descriptor: .none, headerLength: 0, offloads: []) }

    public init(descriptor: Descriptor, headerLength: Int, offloads: TapOffloads) {
        self.descriptor = descriptor
        self.headerLength = headerLength
        self.offloads = offloads
    }

    /// The file that taps are made by, and that one of them becomes. Non-blocking.
    public static func openDevice() throws(Errno) -> Descriptor { try Descriptor.open("/dev/net/tun", O_RDWR | O_NONBLOCK) }

    /// Makes `descriptor` the device `name` (or joins one that exists and is not attached) and asks for every offload, one step less each
    /// time the kernel refuses. On failure it is closed.
    public static func open(name: String, on descriptor: Descriptor) throws(Errno) -> Tap {
        do {
            let flags = IFF_TAP | IFF_NO_PI
            let hasHeader = try attach(descriptor, name, flags | IFF_VNET_HDR, fallback: flags)
            let offloads = hasHeader ? try requestOffloads(descriptor) : []
            return Tap(descriptor: descriptor, headerLength: hasHeader ? 10 : 0, offloads: offloads)
        } catch {
            descriptor.close()
            throw error
        }
    }

    /// True when the device has virtio-net headers.
    private static func attach(_ descriptor: Descriptor, _ name: String, _ flags: Int32, fallback: Int32) throws(Errno) -> Bool {
        let result = setInterface(descriptor, name, flags)
        if result == -EINVAL {
            try Errno.check(setInterface(descriptor, name, fallback))
            return false
        }
        try Errno.check(result)
        return true
    }

    private static func setInterface(_ descriptor: Descriptor, _ name: String, _ flags: Int32) -> Int32 {
        var request = unsafe ifreq()
        // SAFETY: the copy ends one byte before the end of the zeroed field, so the name stays terminated.
        unsafe withUnsafeMutableBytes(of: &request.ifr_ifrn.ifrn_name) { field in
            for (index, byte) in name.utf8.prefix(field.count - 1).enumerated() { unsafe field[index] = byte }
        }
        unsafe request.ifr_ifru.ifru_flags = Int16(truncatingIfNeeded: flags)
        return unsafe linux_ioctl_pointer(descriptor.number, linux_TUNSETIFF(), &request)
    }

    private static func requestOffloads(_ descriptor: Descriptor) throws(Errno) -> TapOffloads {
        let steps: [TapOffloads] = [[.checksum, .tcpSegmentation, .udpSegmentation], [.checksum, .tcpSegmentation], .checksum, []]
        var last = Int32(0)
        for step in steps {
            last = linux_ioctl_value(descriptor.number, linux_TUNSETOFFLOAD(), UInt(step.rawValue))
            if last == 0 { return step }
        }
        throw Errno(-last)
    }
}
