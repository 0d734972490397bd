internal import CLinux
internal import Linux

/// Sockets in the file system that this run has made. When it ends they stay, and the next one replaces them; but where set-up fails, nobody is to find them.
///
/// By then the file system may be out of sight, so folders are held open. A user that root has become since may not be allowed to remove anything there: then it stays.
public struct MadeSockets: Sendable {
    private struct Made: Sendable {
        let folder: Descriptor
        let name: String
        let identity: FileIdentity
    }

    private var made: [Made] = []

    public init() {}

    /// A socket was made at `path`; nil: none was.
    public mutating func note(_ path: String?) {
        guard let path else { return }
        let place = NamespaceWatch.split(path)
        guard let folder = try? Descriptor.open(place.directory, O_PATH | O_DIRECTORY) else { return }
        guard let identity = MadeSockets.identity(place.name, in: folder) else { return folder.close() }
        made.append(Made(folder: folder, name: place.name, identity: identity))
    }

    /// Set-up has failed. What somebody else has put there since stays.
    public mutating func remove() {
        for socket in made where MadeSockets.identity(socket.name, in: socket.folder) == socket.identity {
            try? socket.folder.remove(socket.name)
        }
        keep()
    }

    /// Set-up is complete: nothing is held any more.
    public mutating func keep() {
        for socket in made { socket.folder.close() }
        made = []
    }

    private static func identity(_ name: String, in folder: Descriptor) -> FileIdentity? {
        try? folder.identity(of: name.utf8CString.map { $0 }, follow: false)
    }
}
