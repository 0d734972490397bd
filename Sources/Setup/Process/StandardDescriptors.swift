// The life of the process itself. In the order of a run:
//
//     StandardDescriptors   0 to 2 are there, nothing foreign is
//     QuitSignals           signals become events
//     PidFile               opened while the file system is reachable
//     UserIdentity          who to be instead of root
//     NamespaceSpawner      command mode: the command, waiting in its namespaces
//     Daemonizer            into the background, when everything else has worked

internal import CLinux
public import Linux

/// Descriptors that were here when the program started.
public enum StandardDescriptors {
    /// Makes sure that 0, 1 and 2 are open, so that no socket of ours ever gets one of these numbers. Call it first.
    /// Returns `/dev/null`, which is not reachable any more when a daemon needs it.
    public static func populate() throws(SetupError) -> Descriptor {
        do throws(Errno) {
            // The lowest free number is taken each time, so this fills the gaps from below.
            var null = try Descriptor.open("/dev/null", O_RDWR)
            while null.number <= 2 {
                try null.setCloseOnExec(false)
                null = try Descriptor.open("/dev/null", O_RDWR)
            }
            return null
        } catch {
            throw SetupError(.process, "Couldn't open /dev/null", error)
        }
    }

    /// Closes everything from 3 on except `kept`; what is kept is not inherited by commands.
    public static func closeInherited(keeping kept: [Descriptor]) throws(SetupError) {
        var first: UInt32 = 3
        for number in Set(kept.map(\.number)).sorted() where number >= 3 {
            let number = UInt32(number)
            if number > first { try close(first...(number - 1)) }
            try? Descriptor(Int32(number)).setCloseOnExec()
            first = number + 1
        }
        try close(first...UInt32(Int32.max))
    }

    private static func close(_ range: ClosedRange<UInt32>) throws(SetupError) {
        do throws(Errno) {
            try Descriptor.closeAll(in: range)
        } catch {
            // Kernels before 5.9, and filters that do not know the call.
            try closeOneByOne(range)
        }
    }

    /// Asks /proc which numbers are in use.
    static func closeOneByOne(_ range: ClosedRange<UInt32>) throws(SetupError) {
        do throws(Errno) {
            for name in try Directory.names(in: "/proc/self/fd") {
                // The directory's own descriptor is among them, and closed already.
                if let number = UInt32(name), range.contains(number) { Descriptor(Int32(truncatingIfNeeded: number)).close() }
            }
        } catch {
            throw SetupError(.process, "Couldn't list open files in /proc/self/fd", error)
        }
    }

    /// The descriptors that names such as `/proc/self/fd/5` and `/dev/fd/5` refer to.
    public static func mentioned(in paths: [String?]) -> [Descriptor] {
        paths.compactMap { path in
            guard let path, let slash = path.lastIndex(of: "/") else { return nil }
            let directory = path[..<slash]
            let own = directory == "/proc/self/fd" || directory == "/proc/thread-self/fd" || directory == "/dev/fd"
                || directory == "/proc/\(Process.identifier)/fd"
            let number = path[path.index(after: slash)...]
            guard own, number.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
            return Int32(number).map { Descriptor($0) }
        }
    }

    /// A descriptor given by number (`--fd`), at a number that nothing else claims: 0 to 2 are replaced by `null`.
    public static func adopt(_ descriptor: Descriptor, null: Descriptor) throws(SetupError) -> Descriptor {
        do throws(Errno) {
            guard descriptor.number <= 2 else {
                try descriptor.setCloseOnExec()
                return descriptor
            }
            let moved = try descriptor.duplicate()
            try null.replace(descriptor.number)
            return moved
        } catch {
            throw SetupError(.process, "Couldn't use file descriptor \(descriptor.number)", error)
        }
    }
}
