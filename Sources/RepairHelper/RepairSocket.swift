internal import Linux
internal import Setup

/// From what the user names to a connection with passt.
enum RepairSocket {
    static func connect(to path: String) throws(SetupError) -> Descriptor {
        // What cannot be looked at cannot be connected to either, and that says why.
        if (try? FileKind.of(path)) == .directory {
            let directory = try RepairDirectory(path)
            defer { directory.close() }
            return try directory.connect()
        }
        do throws(Errno) { return try Descriptor.connect(toLocal: path) } catch { throw problem(with: path, error) }
    }

    static func problem(with path: String, _ error: Errno) -> SetupError {
        let hint: String? = switch error.code {
        case 2, 111: "is there a passt with --repair-path \(path)?"  // ENOENT, ECONNREFUSED
        case 13: "only who may write to the socket can connect, and root"  // EACCES
        case 36: "the path of a socket has \(UnixSocket.longestPath) bytes at most"  // ENAMETOOLONG
        case 91: "it must be a stream socket, as passt makes it"  // EPROTOTYPE
        default: nil
        }
        return SetupError(.sockets, "Couldn't connect to \(path)", error, hint: hint)
    }
}
