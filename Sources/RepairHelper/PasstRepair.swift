// RepairHelper: passt-repair, which may do the one thing that passt may not. To take a machine's connections along to another host, their sockets
// must be switched to TCP_REPAIR and back, which needs CAP_NET_ADMIN. passt has no capabilities, so it sends its sockets here and gets a byte back.
//
//     RepairOptions     arguments to a path
//     RepairSocket      that path to a connection
//     RepairDirectory   the same where the socket is still to come
//     RepairService     what is said on the connection
//     PasstRepair       all of it in order

internal import Linux
internal import Setup

/// What `passt-repair` does.
public enum PasstRepair {
    /// Returns the exit status, once passt has closed the connection or something has failed.
    public static func run(_ arguments: [String]) -> Int32 {
        do throws(SetupError) {
            switch try RepairOptions.parse(arguments) {
            case .printed(let text): print(text, on: 1)
            case .run(let path): try serve(path)
            }
            return 0
        } catch {
            print("passt-repair: \(error.message)\n", on: 2)
            return 1
        }
    }

    private static func serve(_ path: String) throws(SetupError) {
        let connection = try RepairSocket.connect(to: path)
        defer { connection.close() }
        // Root needs no other power from here on. Without this step all goes on as well.
        try? Credentials.limitCapabilities(to: .networkAdministration)
        try RepairService.serve(connection) { (socket, mode) throws(Errno) in try socket.setRepairMode(mode) }
    }

    private static func print(_ text: String, on descriptor: Int32) { try? Descriptor(descriptor).write(text) }
}
