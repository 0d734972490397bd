import Glibc
import Testing

@testable import Linux

/// A kernel that refuses to lend, injected.
enum UnlendableMemory {
    /// Memory that seems to be a file and is none: sendfile(2) takes no offset of a pipe.
    static func make(_ byteCount: Int) throws -> Mapping {
        let address = unsafe try #require(mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        let pipe = try Descriptor.pipe()
        pipe.writing.close()
        return unsafe Mapping(base: address, byteCount: byteCount, file: pipe.reading)
    }
}
