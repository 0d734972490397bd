import Testing
import Wire

@Suite struct VirtioNetHeaderTests {
    let bytes = hex("""
        01        # needs checksum
        81        # TCP over IPv4, with ECN
        4200      # 66 bytes of headers, little-endian
        b405      # segments of 1460
        2200 1000 # checksum from 34 on, at 16 behind it
        0100      # one buffer
        """)

    @Test func golden() throws {
        let header = try #require(bytes.parse { VirtioNetHeader($0) })
        #expect(header.flags == .needsChecksum)
        #expect(header.segmentation == .tcp4 && header.isECN)
        #expect(header.headerLength == 66 && header.segmentSize == 1460)
        #expect(header.checksumStart == 34 && header.checksumOffset == 16 && header.bufferCount == 1)
        #expect([UInt8].written(12) { header.write(to: &$0) } == bytes)
        #expect([UInt8].written(12) { header.write(to: &$0, isShort: true) } == bytes[..<10] + [0xee, 0xee])
        #expect(Array(bytes[..<10]).parse { VirtioNetHeader($0, isShort: true) } == header)
        #expect(Array(bytes[..<11]).parse { VirtioNetHeader($0) } == nil)
        #expect(Array(bytes[..<9]).parse { VirtioNetHeader($0, isShort: true) } == nil)
    }

    @Test func plainFramesNameOneBuffer() {
        #expect([UInt8].written(12) { VirtioNetHeader().write(to: &$0) } == hex("00000000 00000000 00000100"))
        let partial = VirtioNetHeader(checksumStart: 54, checksumOffset: 6)
        #expect([UInt8].written(12) { partial.write(to: &$0) } == hex("01000000 0000 3600 0600 0100"))
    }
}
