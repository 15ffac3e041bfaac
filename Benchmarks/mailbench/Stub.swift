@main struct Mailbench { static func main() {} }
