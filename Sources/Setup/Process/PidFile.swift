internal import CLinux
internal import Linux

/// The file that tells others the number of this process. Opened early, while rights and file system are those of the
/// caller; written last, when there is something to tell.
public struct PidFile: Sendable {
    private let path: String
    private let file: Descriptor

    /// Makes the file empty, or creates it.
    public init(path: String) throws(SetupError) {
        self.path = path
        do throws(Errno) {
            file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        } catch {
            throw SetupError(.process, "Couldn't open PID file for option --pid \(path)", error)
        }
    }

    /// Writes the number, complete with a line feed, and closes the file.
    public func write(_ process: Int32) throws(SetupError) {
        defer { file.close() }
        do throws(Errno) {
            try file.write("\(process)\n")
        } catch {
            throw SetupError(.process, "Couldn't write PID file for option --pid \(path)", error)
        }
    }
}
