public import Linux

/// One end of the connection with a helper. Messages stay apart; those too large for one packet are cut into several.
///
/// On the wire: one byte of kind, then the content: 0 data, 1 more of it follows, 2 finished, 3 failed: a byte for the stage, then the text.
public struct HelperChannel: Sendable {
    let socket: Descriptor
    /// Our child at the other end, whose end is looked at where it comes without a word.
    private let child: Int32?

    init(socket: Descriptor, to child: Int32? = nil) {
        self.socket = socket
        self.child = child
    }

    private enum Kind {
        static let data: UInt8 = 0
        static let part: UInt8 = 1
        static let finished: UInt8 = 2
        static let failed: UInt8 = 3
    }

    /// For every packet well below what a socket of this kind buffers.
    private static let largestPacket = 32768
    private static let stages: [SetupError.Stage] = [.options, .discovery, .namespace, .sockets, .isolation, .process]

    /// Sends bytes and copies of descriptors, any number of both.
    public func send(_ bytes: [UInt8], _ descriptors: [Descriptor] = []) throws(SetupError) {
        var bytes = bytes[...]
        var descriptors = descriptors[...]
        repeat {
            let some = bytes.prefix(HelperChannel.largestPacket)
            let few = descriptors.prefix(DescriptorPassing.most)
            bytes = bytes.dropFirst(some.count)
            descriptors = descriptors.dropFirst(few.count)
            try packet(bytes.isEmpty && descriptors.isEmpty ? Kind.data : Kind.part, some, few)
        } while !bytes.isEmpty || !descriptors.isEmpty
    }

    /// The next message of the other side; nil when it has finished or is gone in good order.
    /// Throws what the other side threw, or that it ended without a word, and how.
    public func receive() throws(SetupError) -> DescriptorMessage? {
        var whole = DescriptorMessage([])
        while true {
            let next: DescriptorMessage?
            do throws(Errno) {
                next = try DescriptorPassing.receive(over: socket)
            } catch {
                for descriptor in whole.descriptors { descriptor.close() }
                throw SetupError(.namespace, "Couldn't receive from the helper", error)
            }
            whole.descriptors += next?.descriptors ?? []
            let content = next?.bytes.dropFirst() ?? []
            switch next?.bytes.first {
            case Kind.data:
                whole.bytes += content
                return whole
            case Kind.part:
                whole.bytes += content
            case Kind.finished:
                return nil
            case Kind.failed:
                for descriptor in whole.descriptors { descriptor.close() }
                let stage = Int(content.first ?? 0)
                throw SetupError(
                    stage < HelperChannel.stages.count ? HelperChannel.stages[stage] : .namespace,
                    String(decoding: content.dropFirst(), as: UTF8.self))
            default:
                for descriptor in whole.descriptors { descriptor.close() }
                let how = next == nil ? ending : nil
                throw SetupError(.namespace, "The other process ended unexpectedly" + (how.map { ", \($0)" } ?? ""))
            }
        }
    }

    /// Nobody but the child has the other end, so it is over or about to be.
    private var ending: String? {
        guard let child else { return nil }
        return (try? Process.wait(for: child))?.ending
    }

    func finish() throws(SetupError) { try packet(Kind.finished, [], []) }

    /// Closes this end so that the other side notices, even while a process that was forked since holds a copy of it.
    func end() {
        try? socket.shutdown(2)  // SHUT_RDWR
        socket.close()
    }

    func fail(_ error: SetupError) {
        let stage = UInt8(HelperChannel.stages.firstIndex(of: error.stage) ?? 2)
        try? packet(Kind.failed, [stage] + Array(error.message.utf8.prefix(HelperChannel.largestPacket)), [])
    }

    private func packet(_ kind: UInt8, _ bytes: ArraySlice<UInt8>, _ descriptors: ArraySlice<Descriptor>) throws(SetupError) {
        do throws(Errno) {
            try DescriptorPassing.send(DescriptorMessage([kind] + bytes, Array(descriptors)), over: socket)
        } catch {
            throw SetupError(.namespace, "Couldn't send to the other process", error)
        }
    }
}
