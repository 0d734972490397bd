// Many datagrams in one call. `SendBatch` and `ReceiveBatch` hold the kernel's tables in mappings of their own and
// fill them anew for each call; the payloads lie in a mapping of the caller's, which is named by offset and
// length and must outlive the call.
//
//     headers   | name, vectors, control, flags, length |  one per message, `struct mmsghdr`
//     vectors   | address, length |                        pieces of payload, `struct iovec`
//     names     who it is for or came from, `struct sockaddr_in` or `sockaddr_in6`
//     controls  segment size; on receipt also which of our addresses it was sent to
//
// Calls needed: sendmmsg, recvmmsg.

internal import CLinux

/// `struct mmsghdr` with its addresses as numbers, as 64-bit kernels have it.
struct MessageHeader: BitwiseCopyable {
    var name: UInt = 0
    var nameLength: UInt32 = 0
    private var padding1: UInt32 = 0
    var vectors: UInt = 0
    var vectorCount: UInt = 0
    var control: UInt = 0
    var controlLength: UInt = 0
    var flags: Int32 = 0
    private var padding2: UInt32 = 0
    var length: UInt32 = 0
    private var padding3: UInt32 = 0
}

/// `struct iovec` with its address as a number.
struct MessagePiece: BitwiseCopyable {
    var address: UInt
    var length: UInt
}

extension FixedTable {
    /// The address of an element, for the kernel. An index outside of the table traps.
    func address(of index: Int) -> UInt {
        precondition(index >= 0 && index < count)
        // SAFETY: only a number is made; the index was just checked.
        return unsafe UInt(bitPattern: start + index * MemoryLayout<Element>.stride)
    }
}

extension FixedTable where Element == MessageHeader {
    func pointer(at index: Int) -> UnsafeMutablePointer<mmsghdr> {
        // SAFETY: only a size is asked for; the type counts as unsafe for its pointers.
        let stride = unsafe MemoryLayout<mmsghdr>.stride
        precondition(index >= 0 && index < count && MemoryLayout<MessageHeader>.stride == stride)
        // SAFETY: the index was just checked, and a `MessageHeader` has the layout of `struct mmsghdr`.
        return unsafe (start + index * MemoryLayout<MessageHeader>.stride).assumingMemoryBound(to: mmsghdr.self)
    }
}

extension SystemCall {
    public static var batches: [Permission] { [Permission(.recvmmsg), Permission(.sendmmsg)] }
}
