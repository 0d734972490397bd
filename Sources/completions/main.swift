// completions DIRECTORY: writes the shells' completion files, made from the option table.
import CLinux
import Completion
import Linux

guard CommandLine.arguments.count == 2 else {
    try Descriptor(2).write("Usage: completions DIRECTORY, usually Packaging/completions\n")
    Process.exit(1)
}
for file in CompletionFiles.all {
    let path = CommandLine.arguments[1] + "/" + file.path
    do {
        let output = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try output.write(file.text)
        output.close()
    } catch {
        try Descriptor(2).write("completions: \(path): \(error)\n")
        Process.exit(1)
    }
}
