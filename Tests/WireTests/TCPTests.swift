import Testing
import Wire

@Suite struct TCPTests {
    let syn = hex("""
        d431 1f90              # ports 54321, 8080
        01020304 00000000
        70 02 faf0 1234 0000   # 28 bytes of header, SYN, window 64240, checksum
        020405b4               # MSS 1460
        01030307               # no-op, window scale 7
        """)

    @Test func goldenSYN() throws {
        let header = try #require(syn.parse { TCPHeader($0, at: 0, end: 28) })
        #expect(header.sourcePort == 54321)
        #expect(header.destinationPort == 8080)
        #expect(header.sequence == SequenceNumber(0x0102_0304))
        #expect(header.flags == .syn)
        #expect(header.window == 64240)
        #expect(header.maximumSegmentSize == 1460)
        #expect(header.windowScale == 7)
        #expect(header.payload == 28..<28)
        #expect(header.sequenceLength == 1)
        #expect([UInt8].written(28) { header.write(to: &$0, at: 0) } == syn)
    }

    @Test func goldenData() throws {
        let bytes = hex("1f90 d431 0a0b0c0d 01020305 5019 0100 0000 0000 68690a")
        let header = try #require(bytes.parse { TCPHeader($0, at: 0, end: 23) })
        #expect(header.flags == [.ack, .psh, .fin])
        #expect(header.flags == .ack | .psh | .fin)
        #expect(header.payload == 20..<23)
        #expect(header.sequenceLength == 4)
        let made = TCPHeader(
            sourcePort: 8080, destinationPort: 54321, sequence: SequenceNumber(0x0a0b_0c0d),
            acknowledgment: SequenceNumber(0x0102_0305), flags: .ack | .psh | .fin, window: 256)
        #expect([UInt8].written(20) { made.write(to: &$0, at: 0) } == Array(bytes[..<20]))
    }

    @Test func optionsOfTheKernel() throws {
        // MSS, SACK permitted, timestamps, no-op, window scale, as Linux orders them; the scale is out of bounds.
        let bytes = hex("d4311f90 01020304 00000000 a002faf0 00000000 020405b4 0402 080a 0000000100000000 01 03030f")
        let header = try #require(bytes.parse { TCPHeader($0, at: 0, end: 40) })
        #expect(header.maximumSegmentSize == 1460)
        #expect(header.windowScale == 14)
    }

    @Test(arguments: [
        ("length 0", "0200 0000", nil), ("length 1", "0201 0000", nil), ("beyond the end", "0208 05b4", nil),
        ("kind without length", "0101 0102", nil), ("end of list first", "0002 0404", nil),
        ("wrong length of MSS", "0203 0501", nil), ("good", "0204 05b4", 1460),
    ] as [(String, String, UInt16?)])
    func strangeOptions(_ what: String, _ options: String, _ mss: UInt16?) throws {
        let bytes = hex("d4311f90 01020304 00000000 6002faf0 00000000") + hex(options)
        let header = try #require(bytes.parse { TCPHeader($0, at: 0, end: 24) })
        #expect(header.maximumSegmentSize == mss)
    }

    @Test func optionsCountWithSYNOnly() throws {
        var bytes = syn
        bytes[13] = 0x10
        let header = try #require(bytes.parse { TCPHeader($0, at: 0, end: 28) })
        #expect(header.maximumSegmentSize == nil && header.windowScale == nil)
    }

    @Test func lengths() {
        for end in 0..<28 { #expect(syn.parse { TCPHeader($0, at: 0, end: end) } == nil, "\(end)") }
        #expect(syn.parse { TCPHeader($0, at: 0, end: 29) } == nil)
        var short = syn
        short[12] = 0x40
        #expect(short.parse { TCPHeader($0, at: 0, end: 28) } == nil)
    }

    @Test func sequenceNumbersWrap() {
        let a = SequenceNumber(0xffff_fff0), b = a + 32
        #expect(b.value == 16 && a < b && b > a && b - a == 32 && a - b == -32)
    }
}
