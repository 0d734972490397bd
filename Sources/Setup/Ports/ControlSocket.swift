public import Linux

/// The sockets of `--conf-path` and `--repair-path`, made while names and rights are the caller's. Only the same user may connect.
public enum ControlSocket {
    public static func listen(at path: String, option: String) throws(SetupError) -> Descriptor {
        do throws(Errno) {
            guard let socket = try UnixSocket.take(.stream, path, isPrivate: true) else { throw Errno(98) }  // EADDRINUSE
            return socket
        } catch {
            throw SetupError(.sockets, "Couldn't listen for option \(option) \(path)", error)
        }
    }
}
