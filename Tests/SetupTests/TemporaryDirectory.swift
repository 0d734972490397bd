import CLinux
import Linux

/// A directory that is removed with everything in it when `body` returns.
func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    var template = "/tmp/swift-passt-XXXXXX".utf8CString.map { $0 }
    guard unsafe mkdtemp(&template) != nil else { throw Errno(linux_errno()) }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
        for name in (try? Directory.names(in: path)) ?? [] { unsafe unlink("\(path)/\(name)") }
        unsafe rmdir(path)
    }
    return try body(path)
}

func text(of path: String) throws -> String { String(decoding: try Descriptor.contents(of: path), as: UTF8.self) }
func write(_ text: String, to path: String) throws {
    let file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
    defer { file.close() }
    try file.write(text)
}
