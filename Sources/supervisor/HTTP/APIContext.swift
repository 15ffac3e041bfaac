import Hummingbird

/// What a request knows of its connection.
struct APIContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let peer: String?

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    peer = source.channel.remoteAddress?.ipAddress
  }
}
