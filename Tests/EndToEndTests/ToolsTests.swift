import Testing

/// The tests' own client, server and hosts without pasta between them: where this fails, look here first.
@Suite struct ToolsTests {
    @Test(arguments: Family.allCases)
    func clientAndServerAgreeWithoutPasta(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            for words in [
                ["send", "1000000"], ["send", "0"], ["receive", "1000000"], ["duplex", "1000000"], ["first", "1000000"], ["first", "1"],
                ["abort"], ["parallel", "200", "50000"], ["udp-sizes", "0", "1400", "65507"], ["udp-flows", "300"],
                ["udp-burst", "5000", "1400"], ["udp-burst", "5000", "9000"],
            ] {
                let client = ["python3", Helpers.path("client.py"), words[0], family.server, "4000"] + words.dropFirst()
                try network.host.run(client, seconds: 60).check()
            }
            for (word, port, answer) in [("reset", "4000", "ECONNRESET"), ("udp-error", "4999", "ECONNREFUSED")] {
                let output = try network.host.run(["python3", Helpers.path("client.py"), word, family.server, port])
                #expect(output.text == answer, "\(output)")
            }
        }
    }
}
