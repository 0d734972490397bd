internal import Linux
internal import Wire

/// passt-repair, which is connected to our socket and switches TCP_REPAIR for us: it takes one byte that says what to do, with sockets beside it, and sends
/// the byte back when it has done that.
struct RepairHelper: BitwiseCopyable {
    /// Where helpers connect; none: there is no way to move a connection.
    var listener = Descriptor.none
    private var helper = Descriptor.none

    /// Milliseconds for a helper to turn up, which is usually there long before, and for one to answer.
    private static var arrival: Int32 { 10 }
    private static var patience: Int32 { 5000 }

    /// Whether somebody is there to ask. Who came last counts: an earlier one may be stuck.
    mutating func isThere() -> Bool {
        guard listener.isOpen else { return false }
        if !helper.isOpen, !listener.awaitInput(milliseconds: RepairHelper.arrival) { return false }
        while let (socket, _) = try? listener.accept() {
            forget()
            helper = socket
        }
        // What a helper says unasked is its end.
        if helper.isOpen, helper.awaitInput(milliseconds: 0) { forget() }
        return helper.isOpen
    }

    /// Does it for the first `count` of `numbers`, at most `DescriptorPassing.most`. False when it is not certain that it was done.
    mutating func apply(_ mode: RepairMode, to numbers: borrowing FixedTable<Int32>, count: Int) -> Bool {
        guard helper.isOpen else { return false }
        let byte = UInt8(truncatingIfNeeded: mode.rawValue)
        guard DescriptorPassing.send(byte, numbers, count: count, over: helper), helper.awaitInput(milliseconds: RepairHelper.patience),
            DescriptorPassing.receiveByte(over: helper) == byte
        else {
            forget()
            return false
        }
        return true
    }

    /// A move is over, and with it the work of all helpers, also of those that were not needed.
    mutating func letGo() {
        forget()
        guard listener.isOpen else { return }
        while let (socket, _) = try? listener.accept() { socket.close() }
    }

    private mutating func forget() {
        if helper.isOpen { helper.close() }
        helper = .none
    }
}
