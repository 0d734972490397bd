internal import Linux
internal import Setup

/// A directory in which passt's socket is, or will be.
struct RepairDirectory {
    enum Look: Equatable {
        case connected(Descriptor)
        /// A socket on which nobody listens. It may be left from a passt that has ended, or belong to one that is about to listen.
        case refused
        case nothing
    }

    /// How the name of such a socket ends.
    static let ending = ".repair"
    /// Milliseconds from one try to the next where a connection was refused: no event tells that somebody listens.
    private static let pauses: (first: Int32, longest: Int32) = (10, 1000)

    let path: String
    private let watch: Descriptor

    /// The watch begins here. What comes between a look and the wait after it is not missed.
    init(_ path: String) throws(SetupError) {
        self.path = path
        do throws(Errno) { watch = try Inotify.watchArrivals(in: path) } catch {
            throw SetupError(.sockets, "Couldn't watch directory \(path)", error, hint: "name the socket itself instead")
        }
    }

    func close() { watch.close() }

    /// Waits for as long as there is no socket that takes the connection.
    func connect() throws(SetupError) -> Descriptor {
        var pause = RepairDirectory.pauses.first
        while true {
            switch try look() {
            case .connected(let socket): return socket
            case .nothing: _ = try wait(milliseconds: -1)
            case .refused:
                // Whoever comes now will listen soon, however long others have not.
                let isNew = try wait(milliseconds: pause)
                pause = isNew ? RepairDirectory.pauses.first : min(pause * 2, RepairDirectory.pauses.longest)
            }
        }
    }

    /// Tries what is there. Names go in order, so that the choice among several is no accident.
    func look() throws(SetupError) -> Look {
        let names: [String]
        do throws(Errno) { names = try Directory.names(in: path) } catch {
            throw SetupError(.sockets, "Couldn't read directory \(path)", error, hint: "name the socket itself instead")
        }
        var found = Look.nothing
        for name in names.sorted() where name.hasSuffix(RepairDirectory.ending) {
            let file = "\(path)/\(name)"
            guard (try? FileKind.of(file)) == .socket else { continue }
            do throws(Errno) { return .connected(try Descriptor.connect(toLocal: file)) } catch {
                switch error.code {
                case 2: break  // ENOENT: gone meanwhile
                case 111: found = .refused  // ECONNREFUSED
                default: throw RepairSocket.problem(with: file, error)
                }
            }
        }
        return found
    }

    /// Whether something came within that time; below zero, it has no end.
    func wait(milliseconds: Int32) throws(SetupError) -> Bool {
        guard watch.awaitInput(milliseconds: milliseconds) else { return false }
        // Which names came does not matter, since all are looked at again.
        if Inotify.changes(from: watch, of: [0]) == .removed {
            throw SetupError(.sockets, "Directory \(path) has gone away, start again when it is back")
        }
        return true
    }
}
