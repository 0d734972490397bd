// Machine: the socket that a virtual machine connects to, or has connected to. It is made or taken over while names and rights are the caller's.

internal import CLinux
public import Linux

public struct MachineSocket: Equatable, Sendable {
    public let descriptor: Descriptor
    public let kind: UnixSocket.Kind
    /// Machines connect to it; else it is the machine's own connection.
    public let isListener: Bool
    /// Where it listens.
    public let path: String?
    /// One of these, the other is none.
    public var listener: Descriptor { isListener ? descriptor : .none }
    public var client: Descriptor { isListener ? .none : descriptor }
    /// A datagram socket at a path: whoever sends to it first is the machine.
    public var awaitsSender: Bool { kind == .datagrams && path != nil }

    private static let defaultPaths = (1...64).map { "/tmp/passt_\($0).socket" }

    /// Listens on `path`, or on the first of the usual paths that nobody listens on. `unixpacket://` before a path asks for a connection of
    /// messages, a frame in each, instead of a stream, `unixgram://` for datagrams.
    public static func listen(at path: String?) throws(SetupError) -> MachineSocket {
        guard let path else { return try listen(onAnyOf: defaultPaths) }
        let (kind, name) = kind(of: path)
        let socket = try SocketPath.take(kind, name, for: "--socket \(path)")
        return MachineSocket(descriptor: socket, kind: kind, isListener: kind != .datagrams, path: name)
    }

    static func listen(onAnyOf paths: [String]) throws(SetupError) -> MachineSocket {
        var last = Errno(EADDRINUSE)
        for path in paths {
            do throws(Errno) {
                if let socket = try UnixSocket.take(.stream, path) {
                    return MachineSocket(descriptor: socket, kind: .stream, isListener: true, path: path)
                }
            } catch {
                // Another user's counts as in use, whether somebody still listens or not.
                if error.code != EACCES { last = error }
            }
        }
        throw SetupError(
            .sockets, "Couldn't listen on any of \(paths.first ?? "none") to \(paths.last ?? "none")", last, hint: "name another path with --socket")
    }

    /// What a value of `--socket` asks for, and the path in it.
    static func kind(of path: String) -> (kind: UnixSocket.Kind, path: String) {
        for (kind, prefix) in [(UnixSocket.Kind.messages, "unixpacket://"), (.datagrams, "unixgram://")] where path.utf8.starts(with: prefix.utf8) {
            return (kind, String(path.dropFirst(prefix.utf8.count)))
        }
        return (.stream, path)
    }

    /// Waits until somebody has sent something who can be answered, which takes the file system that their path is in; what they sent stays in the
    /// queue. False when a signal ends the wait.
    public func awaitSender(_ signals: QuitSignals, log: Log) throws(SetupError) -> Bool {
        do throws(Errno) {
            let epoll = try Epoll()
            defer { epoll.descriptor.close() }
            var events = try EventList(capacity: 2)
            try epoll.add(descriptor, .input, tag: 0)
            try epoll.add(signals.descriptor, .input, tag: 1)
            var told: Set<Int32> = []
            while true {
                while let event = signals.next() {
                    if event == .quit { return false }
                }
                switch try descriptor.connectToSender() {
                case .connected: return true
                case .nobody: try events.wait(on: epoll, nanoseconds: -1)
                case .unreachable(let error):
                    // Once: what cannot be answered is sent again and again.
                    guard told.insert(error.code).inserted else { break }
                    log.warning("Turned away a virtual machine that cannot be answered: \(MachineSocket.reason(error))")
                }
            }
        } catch {
            throw SetupError(.sockets, "Couldn't wait for a virtual machine", error)
        }
    }

    /// Why a sender cannot be answered, and what can be done about it. Nothing is closed in yet, so there may be strings.
    static func reason(_ error: Errno) -> String {
        let hint: String? = switch error.code {
        case EACCES: "the machine's own socket must be writable for this user"
        case EDESTADDRREQ: "the machine's own socket must be bound to a path"
        case ENOENT, ECONNREFUSED: "the machine's own socket is not there any more"
        default: nil
        }
        return error.text + (hint.map { ", " + $0 } ?? "")
    }

    /// Takes over the connected socket of `--fd`, of whichever kind it is, at a number that nothing else claims.
    public static func adopt(_ number: Int32, null: Descriptor) throws(SetupError) -> MachineSocket {
        let given = Descriptor(number)
        let kind: UnixSocket.Kind
        do throws(Errno) {
            kind = try given.socketKind()
            guard given.isConnected else { throw Errno(ENOTCONN) }
            try given.setNonBlocking()
        } catch {
            throw SetupError(.sockets, "Couldn't use the socket of option --fd \(number)", error)
        }
        return MachineSocket(descriptor: try StandardDescriptors.adopt(given, null: null), kind: kind, isListener: false, path: nil)
    }
}
