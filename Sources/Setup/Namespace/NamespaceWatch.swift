internal import CLinux
public import Linux

/// Notices that the guest's namespace has gone away, as far as its name tells: its last user may live on unseen.
///
/// A file is watched through its directory (inotify). In procfs, which has no such events, or where inotify's limits are used
/// up, a timer looks once a second. A process is watched by a descriptor of its own, else by timer. Everything is opened here; later
/// the process may be closed in.
public struct NamespaceWatch: Sendable {
    private enum Source: Sendable {
        case removals
        case timer
        case process
    }

    /// To be watched for input; then `isGone` tells.
    public let descriptor: Descriptor
    private let source: Source
    private let directory: Descriptor
    /// In C's form.
    private let name: [CChar]
    private let namespace: FileIdentity

    private static let interval: Int64 = 1_000_000_000

    /// Nil for a command's namespace, whose end the command's own end is, and for a descriptor of ours: an open namespace has no name
    /// that could go away.
    public init?(_ target: TargetNamespace) throws(SetupError) {
        let path: String
        var process: Int32?
        switch target.origin {
        case .command:
            return nil
        case .process(let number):
            process = number
            path = "/proc/\(number)/ns/net"
        case .file(let file):
            if !StandardDescriptors.mentioned(in: [file]).isEmpty { return nil }
            path = file
            process = NamespaceWatch.process(of: file)
        }
        let (folder, last) = NamespaceWatch.split(path)
        name = last.utf8CString.map { $0 }
        do throws(Errno) {
            namespace = try target.network.identity()
            // Callers look for these words, and try again with --no-netns-quit.
            directory = try Descriptor.open(folder, O_PATH | O_DIRECTORY)
        } catch {
            throw SetupError(.namespace, "netns dir open: \(error.text), exiting")
        }
        do throws(Errno) {
            (source, descriptor) = try NamespaceWatch.source(process: process, folder: folder, directory: directory)
        } catch {
            throw SetupError(.namespace, "Couldn't watch network namespace \(path)", error)
        }
        // It may have gone before the watch began.
        if !isThere { throw SetupError(.namespace, "Network namespace \(path) has gone away") }
    }

    private static func source(process: Int32?, folder: String, directory: Descriptor) throws(Errno) -> (Source, Descriptor) {
        let inProcfs = try directory.isInProcfs()
        // Numbers in /proc are ours only if /proc shows our own PID namespace.
        if let process, inProcfs, (try? Descriptor.link("/proc/self")) == "\(Process.identifier)",
            let descriptor = try? Process.watch(process)
        {
            return (.process, descriptor)
        }
        if !inProcfs, let descriptor = try? Inotify.watchRemovals(in: folder) { return (.removals, descriptor) }
        return (.timer, try Timer.repeating(every: interval))
    }

    /// The process that a path such as `/proc/123/ns/net` belongs to.
    static func process(of path: String) -> Int32? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "", parts[1] == "proc", parts[3] == "ns", parts[4] == "net" else { return nil }
        return Int32(parts[2]).flatMap { $0 > 0 ? $0 : nil }
    }

    /// Directory and last name.
    static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let directory = path[..<slash]
        return (directory.isEmpty ? "/" : String(directory), String(path[path.index(after: slash)...]))
    }

    /// Whether the namespace is gone. Call it when the descriptor is readable. Allocates nothing. (read, newfstatat)
    public func isGone() -> Bool {
        switch source {
        case .process:
            return true
        case .timer:
            return Timer.expirations(of: descriptor) > 0 && !isThere
        case .removals:
            switch Inotify.changes(from: descriptor, of: name) {
            case .removed: return true
            case .unknown: return !isThere
            case .nothing: return false
            }
        }
    }

    /// The name still stands for the same namespace; where that may not be looked at, for anything. Where it only cannot be looked at now, for lack of
    /// memory, or as a disk or a file server is in trouble, it is there: else a run would end for nothing.
    var isThere: Bool {
        do throws(Errno) {
            return try directory.identity(of: name, follow: true) == namespace
        } catch {
            guard error.code == EACCES || error.code == EPERM else { return !NamespaceWatch.isEnd(error) }
        }
        do throws(Errno) {
            _ = try directory.identity(of: name, follow: false)
            return true
        } catch {
            return !NamespaceWatch.isEnd(error)
        }
    }

    /// Whether there is nothing of that name: no file, no directory that it could be in, no process (procfs).
    static func isEnd(_ error: Errno) -> Bool { error.code == ENOENT || error.code == ENOTDIR || error.code == ESRCH }
}

extension NamespaceWatch {
    public static var systemCalls: [SystemCall.Permission] { SystemCall.files + SystemCall.lookingUp }
}
