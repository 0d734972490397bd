import Daemon
import Linux

Process.exit(runProgram(arguments: CommandLine.arguments))
