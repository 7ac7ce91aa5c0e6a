// ws_client.js PORT DEVICE TIME_NS: streams the two known readings and waits for {"ack":2}.
'use strict'
const WebSocket = require('ws')

const [port, device, timeNs] = process.argv.slice(2)
setTimeout(() => fail(new Error('no acknowledgement in 20 s')), 20000).unref()

function fail (error) {
  console.error(error.message)
  process.exit(1)
}

const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream?device=${device}`)
socket.on('error', fail)
socket.on('open', () => {
  socket.send(`{"measurement":"climate","fields":{"t":21.5,"on":true,"mode":"auto"},"ts":${timeNs}}`)
  socket.send(`{"measurement":"meter","fields":{"power":230.25},"ts":${timeNs}}`)
})
socket.on('message', (text) => {
  const answer = JSON.parse(text)
  if (answer.nack !== undefined) fail(new Error(`refused: ${text}`))
  if (answer.ack >= 2) {
    socket.close()
    process.exit(0)
  }
})
