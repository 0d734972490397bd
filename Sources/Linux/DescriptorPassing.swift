internal import CLinux

/// A message with descriptors beside its bytes.
public struct DescriptorMessage: Equatable, Sendable {
    public var bytes: [UInt8]
    public var descriptors: [Descriptor]

    public init(_ bytes: [UInt8], _ descriptors: [Descriptor] = []) {
        self.bytes = bytes
        self.descriptors = descriptors
    }
}

/// Descriptors on their way from one process to another (SCM_RIGHTS, unix(7)).
public enum DescriptorPassing {
    /// The kernel's limit for one message.
    public static let most = Int(LINUX_MOST_DESCRIPTORS)

    /// Two connected sockets that keep messages apart.
    public static func pair() throws(Errno) -> (Descriptor, Descriptor) {
        var pair: [Int32] = [-1, -1]
        // SAFETY: the array has the two elements that are written.
        try Errno.check(unsafe linux_socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair))
        return (Descriptor(pair[0]), Descriptor(pair[1]))
    }

    /// Sends one message of at least one byte and at most `most` descriptors, which stay open here. (sendmsg)
    public static func send(_ message: DescriptorMessage, over socket: Descriptor) throws(Errno) {
        let numbers = message.descriptors.map(\.number)
        try Errno.check(
            restarting {
                // SAFETY: both arrays live as long as the call, with their counts.
                unsafe linux_send_descriptors(socket.number, message.bytes, message.bytes.count, numbers, numbers.count, 0)
            })
    }

    /// Takes the next message; nil at the end. EMFILE if descriptors had no room, which are closed then. (recvmsg)
    public static func receive(over socket: Descriptor, limit: Int = 65536) throws(Errno) -> DescriptorMessage? {
        var bytes = [UInt8](repeating: 0, count: limit)
        var numbers = [Int32](repeating: -1, count: most)
        var count = 0
        var complete: Int32 = 1
        let length = restarting {
            // SAFETY: the arrays have the room that is announced, and the counts are written during the call.
            unsafe linux_receive_descriptors(socket.number, &bytes, limit, &numbers, &count, &complete, 0)
        }
        let descriptors = numbers.prefix(count).map { Descriptor($0) }
        if try Errno.check(length) == 0 { return nil }
        guard complete != 0 else {
            for descriptor in descriptors { descriptor.close() }
            throw Errno(EMFILE)
        }
        return DescriptorMessage(Array(bytes.prefix(length)), descriptors)
    }
}

/// A few descriptors that came with bytes of a stream. What nobody takes must be closed.
public struct PassedDescriptors: BitwiseCopyable {
    public static var most: Int { 8 }

    var numbers = InlineArray<8, Int32>(repeating: -1)
    public private(set) var count = 0

    public init() {}

    /// The descriptor at `index`, which is the caller's from now on; none if there is no such one.
    public mutating func take(_ index: Int) -> Descriptor {
        guard index >= 0, index < count else { return .none }
        defer { numbers[index] = -1 }
        return Descriptor(numbers[index])
    }

    public mutating func closeAll() {
        for index in 0..<count { take(index).close() }
        count = 0
    }

    /// Reads at most `length` bytes of a stream to `offset` of `mapping`; a range outside of it traps. Descriptors are added to those that are here.
    /// EMFILE if there is no room for them, and they are closed then. (recvmsg)
    public mutating func receive(on socket: Descriptor, into mapping: inout Mapping, offset: Int, length: Int) -> Outcome {
        precondition(mapping.holds(length, at: offset))
        var found = InlineArray<8, Int32>(repeating: -1)
        var foundCount = 0
        var complete: Int32 = 1
        var list = found.mutableSpan
        let outcome = unsafe list.withUnsafeMutableBufferPointer { list in
            // SAFETY: the range was just checked, and the array has the room that is announced.
            Outcome(restarting {
                unsafe linux_receive_some_descriptors(
                    socket.number, mapping.base + offset, length, list.baseAddress, PassedDescriptors.most, &foundCount, &complete, Int32(MSG_DONTWAIT))
            })
        }
        let fit = complete != 0 && count + foundCount <= PassedDescriptors.most
        for index in 0..<min(foundCount, PassedDescriptors.most) {
            if fit {
                numbers[count] = found[index]
                count += 1
            } else {
                Descriptor(found[index]).close()
            }
        }
        return fit ? outcome : Outcome(-Int(EMFILE))
    }
}
