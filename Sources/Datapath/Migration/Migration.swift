// Migration: a virtual machine moves to another host while it runs, and its TCP connections move along (vhost-user's device state).
//
//     monitor there, as the source                                        monitor here, as the target
//          |  "save"                                                           |  "load"
//          v                                                                   v
//     every socket stands still: what comes for it is lost on its way     for each connection, a socket is made that goes on with it,
//     (its peer sends it again), and a helper with CAP_NET_ADMIN          again with the helper's leave
//     switches TCP_REPAIR on; now its numbers and queues can be read
//          |                                                                   ^
//          `-- head | connection | bytes from the peer | bytes to it | ... --pipe--'
//
//   RepairHelper         asks the helper, passt-repair, which alone may switch TCP_REPAIR on and off
//   StatePipe            writes and reads what goes through the pipe, with patience that ends
//   Leftovers            what new sockets have no room for yet
//   SavedHead            what a state begins with, in bytes
//   SavedConnection      one connection, likewise
//   Forwarder+Migration  what is done, in order, and what becomes of the sockets of a machine that has left
//
// The machine stands still meanwhile and serves nobody, so all of this waits where it must. No connection is worth a machine: whatever does not work
// out costs the connection that it is about, or all of them, and the machine moves all the same. What it sends on a connection that nobody
// knows is answered by a reset.

internal import Linux
internal import Wire

/// A state that a link's front-end wants, or gives.
struct StateTransfer: BitwiseCopyable {
    var isSaving: Bool
    /// Our end of the pipe.
    var pipe: Descriptor
}

/// What becomes of connections that were saved.
public enum AfterMigration: Sendable {
    /// They stand still as long as there is no other machine: their peers, who may still be on their way here, are not told that they are over.
    case linger
    case close
    /// They are closed, and the program ends.
    case exit
}

struct Migration: ~Copyable {
    enum Phase: BitwiseCopyable {
        case idle
        /// All connections stand still, and belong to the machine that still may go on here.
        case saved
        /// It has left.
        case left
        /// All that have come stand still, for a machine that does not run here yet.
        case loaded
    }

    var helper = RepairHelper()
    var after = AfterMigration.linger
    var phase = Phase.idle
    /// Where what is written or read lies: a head or a connection, then both of its queues.
    var buffer: Mapping
    /// Sockets that the helper is asked about.
    var numbers: FixedTable<Int32>

    /// Bytes of one queue; a connection with more stays behind. Where in the buffer what has come lies, and what is to be sent.
    static var mostQueued: Int { 64 << 20 }
    static var received: Int { 4096 }
    static var unsent: Int { received + mostQueued }

    /// Without connections that could move, there is no more than a head.
    init() throws(Errno) {
        let buffer = try Mapping(byteCount: Migration.received)
        numbers = try FixedTable(count: DescriptorPassing.most)
        self.buffer = buffer
    }

    /// Connections move: with the helpers that connect to `listener`, which must be non-blocking.
    mutating func begin(_ listener: Descriptor, _ after: AfterMigration) throws(Errno) {
        buffer = try Migration.memory(Migration.unsent + Migration.mostQueued)
        helper.listener = listener
        self.after = after
    }

    /// There is room for queues.
    var takesConnections: Bool { buffer.byteCount > Migration.received }

    /// Memory that can be given back although the process may take none by then.
    static func memory(_ byteCount: Int) throws(Errno) -> Mapping {
        do throws(Errno) { return try Mapping(lendable: byteCount) } catch { return try Mapping(byteCount: byteCount) }
    }

    // MARK: The buffer's beginning

    mutating func write(_ head: SavedHead) {
        var bytes = buffer.mutableBytes
        head.write(to: &bytes)
    }

    mutating func write(_ connection: SavedConnection) {
        var bytes = buffer.mutableBytes
        connection.write(to: &bytes)
    }
}
