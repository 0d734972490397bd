internal import Linux
internal import Setup

/// What is said on the socket, where passt begins:
///
///     passt                                              passt-repair
///         a command, one signed byte, with 253 sockets at most beside it  -->
///                                                        sets TCP_REPAIR of each to what the byte says, and closes it
///         <--  the same byte
///
/// Once something has failed there is no answer, and the connection ends.
enum RepairService {
    /// How a socket is switched; tests have ways of their own.
    typealias Switch = (Descriptor, RepairMode) throws(Errno) -> Void

    private struct Order {
        let byte: UInt8
        let sockets: [Descriptor]
    }

    /// Does what it is told until passt closes the connection, which stays open here.
    static func serve(_ connection: Descriptor, _ setRepair: Switch) throws(SetupError) {
        while let order = try nextOrder(connection) {
            try obey(order, setRepair)
            do throws(Errno) { try DescriptorPassing.send(DescriptorMessage([order.byte]), over: connection) } catch {
                throw SetupError(.sockets, "Couldn't answer passt", error, hint: "has it ended?")
            }
        }
    }

    /// nil: there is no such command.
    static func command(_ byte: UInt8) -> RepairMode? { RepairMode(rawValue: Int32(Int8(bitPattern: byte))) }

    /// nil at the end.
    private static func nextOrder(_ connection: Descriptor) throws(SetupError) -> Order? {
        do throws(Errno) {
            // One byte, so that each command comes with its own sockets.
            guard let message = try DescriptorPassing.receive(over: connection, limit: 1), let byte = message.bytes.first else { return nil }
            return Order(byte: byte, sockets: message.descriptors)
        } catch {
            if error.isLackOfDescriptors {
                throw SetupError(
                    .sockets, "Not all sockets of a command came across: is the limit of open files (ulimit -n) below 300, or does a security "
                        + "module forbid it?")
            }
            throw SetupError(.sockets, "Couldn't read from passt", error, hint: "has it ended?")
        }
    }

    /// Closes the sockets in any case. Those that were switched before one failed stay as they are: what becomes of them is passt's decision.
    private static func obey(_ order: Order, _ setRepair: Switch) throws(SetupError) {
        defer { for socket in order.sockets { socket.close() } }
        guard let mode = command(order.byte) else {
            throw SetupError(.sockets, "Unknown command \(Int8(bitPattern: order.byte)): use the passt-repair that belongs to this passt")
        }
        for socket in order.sockets {
            do throws(Errno) { try setRepair(socket, mode) } catch { throw refusal(mode, error) }
        }
    }

    private static func refusal(_ mode: RepairMode, _ error: Errno) -> SetupError {
        // EPERM
        let hint = error.code == 1
            ? "run passt-repair as root or with CAP_NET_ADMIN, in the user namespace that owns passt's network"
            : "is it a passt that sent this socket?"
        return SetupError(.sockets, "Couldn't switch TCP_REPAIR \(mode == .on ? "on" : "off")", error, hint: hint)
    }
}
