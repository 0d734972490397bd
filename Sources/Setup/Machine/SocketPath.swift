internal import CLinux
internal import Linux

/// Places in the file system for sockets of ours. What a process has left there that has ended is replaced, and nothing else.
enum SocketPath {
    /// A socket at `path`. `option` is named in what is said otherwise, with its value.
    static func take(_ kind: UnixSocket.Kind, _ path: String, for option: String, isPrivate: Bool = false) throws(SetupError) -> Descriptor {
        let what = "Couldn't listen for option \(option)"
        do throws(Errno) {
            if let socket = try UnixSocket.take(kind, path, isPrivate: isPrivate) { return socket }
        } catch {
            let isThere = (try? FileKind.of(path, follow: false)) == .socket
            throw SetupError(.sockets, what, error, hint: error.code == EACCES && isThere ? "\(path) is another user's: remove it or name another path" : nil)
        }
        throw SetupError(.sockets, what, Errno(EADDRINUSE), hint: hint(path))
    }

    /// A symbolic link counts as itself.
    private static func hint(_ path: String) -> String {
        if let kind = try? FileKind.of(path, follow: false), kind != .socket { return "\(path) is not a socket: remove it or name another path" }
        return "another process listens there"
    }
}
