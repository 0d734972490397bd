import CLinux
import Linux
import Testing
import Wire

/// The two ends of a stream.
func streamPair() throws -> (Descriptor, Descriptor) {
    var ends: [Int32] = [-1, -1]
    try Errno.check(unsafe linux_socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends))
    return (Descriptor(ends[0]), Descriptor(ends[1]))
}

/// A TCP socket without a connection.
func tcpSocket() throws -> Descriptor { try Descriptor.socket(.stream, for: IPAddress(IPv4Address.loopback)) }

/// How many descriptors of this process are that file: others come and go meanwhile, since all tests are one process.
func descriptors(of file: FileIdentity) throws -> Int {
    let numbers = try Directory.names(in: "/proc/self/fd").compactMap { Int32($0) }
    return numbers.filter { number in (try? Descriptor(number).identity()) == file }.count
}

/// A directory that is removed with the files in it when `body` returns.
func withDirectory(_ body: (String) throws -> Void) throws {
    var template = "/tmp/swift-passt-XXXXXX".utf8CString.map { $0 }
    guard unsafe mkdtemp(&template) != nil else { throw Errno(linux_errno()) }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
        for name in (try? Directory.names(in: path)) ?? [] { unsafe unlink("\(path)/\(name)") }
        unsafe rmdir(path)
    }
    try body(path)
}
