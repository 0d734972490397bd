public import Linux

/// The sockets of `--conf-path` and `--repair-path`, made while names and rights are the caller's. Only the same user may connect.
public enum ControlSocket {
    public static func listen(at path: String, option: String) throws(SetupError) -> Descriptor {
        try SocketPath.take(.stream, path, for: "\(option) \(path)", isPrivate: true)
    }
}
