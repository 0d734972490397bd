internal import CLinux

/// Passing many descriptors without a list of them that would have to be allocated.
extension DescriptorPassing {
    /// Sends one byte and the first `count` descriptors of a table, at most `most`, which stay open here. False when it did not leave at once. (sendmsg)
    public static func send(_ byte: UInt8, _ numbers: borrowing FixedTable<Int32>, count: Int, over socket: Descriptor) -> Bool {
        precondition(count >= 0 && count <= min(numbers.count, most))
        var byte = byte
        let start = unsafe numbers.start.assumingMemoryBound(to: Int32.self)
        // SAFETY: the table has so many numbers, which outlive the call, and the byte is one.
        return restarting { unsafe linux_send_descriptors(socket.number, &byte, 1, start, count, Int32(MSG_DONTWAIT)) } == 1
    }

    /// One byte of a stream, if it is there. (recvfrom)
    public static func receiveByte(over socket: Descriptor) -> UInt8? {
        var byte: UInt8 = 0
        // SAFETY: one byte is written at most.
        return restarting { unsafe linux_recv(socket.number, &byte, 1, Int32(MSG_DONTWAIT)) } == 1 ? byte : nil
    }
}
