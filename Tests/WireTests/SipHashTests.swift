import Testing
import Wire

@Suite struct SipHashTests {
    // Appendix A of the paper, and the vectors published with the reference implementation: the key is
    // 00 01 .. 0f, the message 00 01 .. n-1.
    let hash = SipHash(key0: 0x0706_0504_0302_0100, key1: 0x0f0e_0d0c_0b0a_0908)

    @Test func empty() { #expect(hash.finalize() == 0x726f_db47_dd0e_0e31) }

    @Test func wholeWords() {
        var hash = hash
        hash.combine(0x0706_0504_0302_0100)
        #expect(hash.finalize() == 0x93f5_f579_9a93_2462)
        hash.combine(0x0f0e_0d0c_0b0a_0908)
        #expect(hash.finalize() == 0x3f2a_cc7f_57c2_9bdb)
    }

    @Test func fifteenBytes() {
        var hash = hash
        hash.combine(0x0706_0504_0302_0100)
        #expect(hash.finalize(tail: 0x0e_0d0c_0b0a_0908, tailCount: 7) == 0xa129_ca61_49be_45e5)
    }

    @Test func addressesAreTwoWords() {
        var words = hash, address = hash
        words.combine(0)
        words.combine(0xffff_c000_0201)
        address.combine(IPAddress("192.0.2.1")!)
        #expect(words == address)
    }
}
