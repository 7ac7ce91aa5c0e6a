// mqttjs_client.js PORT VERSION DEVICE TIME_NS: publishes the two known readings and waits for every
// acknowledgement. VERSION is 3 (MQTT 3.1), 4 (3.1.1) or 5.
'use strict'
const mqtt = require('mqtt')

const [port, version, device, timeNs] = process.argv.slice(2)
setTimeout(() => fail(new Error('no acknowledgement in 20 s')), 20000).unref()

function fail (error) {
  console.error(error.message)
  process.exit(1)
}

const client = mqtt.connect({
  host: '127.0.0.1',
  port: Number(port),
  clientId: device,
  protocolVersion: Number(version),
  protocolId: version === '3' ? 'MQIsdp' : 'MQTT',
  reconnectPeriod: 0
})
client.on('error', fail)
client.on('connect', async () => {
  try {
    // The time as digits: as a number of JavaScript it would lose its last ones.
    const climate = `{"measurement":"climate","device":"${device}",` +
      `"fields":{"t":21.5,"on":true,"mode":"auto"},"ts":${timeNs}}`
    await client.publishAsync(`clients/${device}`, climate, { qos: 1 })
    const meter = `meter,device=${device} count=-42i,total=7u,power=230.25 ${timeNs}`
    await client.publishAsync(`clients/${device}`, meter, { qos: 2 })
    await client.endAsync()
    process.exit(0)
  } catch (error) {
    fail(error)
  }
})
