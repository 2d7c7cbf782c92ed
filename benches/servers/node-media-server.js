// As it comes, without its log.
const NodeMediaServer = require("node-media-server");
const server = new NodeMediaServer({
  bind: "127.0.0.1",
  auth: { play: false, publish: false },
  rtmp: { port: 19363 },
  http: { port: 18093 },
});
require("node-media-server/src/core/logger.js").level = "warn"; // the constructor says "debug"
server.run();
