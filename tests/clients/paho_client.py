"""paho_client.py PORT VERSION DEVICE TIME_NS: publishes the two known readings and waits for every acknowledgement.

VERSION is 3 (MQTT 3.1), 4 (3.1.1) or 5. The first reading goes at QoS 1, the second at QoS 2.
"""
import json
import sys

import paho.mqtt.client as mqtt

port, version, device, time_ns = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
climate = json.dumps({
    "measurement": "climate",
    "device": device,
    "fields": {"t": 21.5, "on": True, "mode": "auto"},
    "ts": time_ns,
})
meter = f"meter,device={device} count=-42i,total=7u,power=230.25 {time_ns}"

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=version)
connected = []
client.on_connect = lambda _client, _data, _flags, reason, _properties: connected.append(reason)
client.connect("127.0.0.1", port, keepalive=20)
client.loop_start()
for payload, qos in ((climate, 1), (meter, 2)):
    sent = client.publish(f"clients/{device}", payload, qos=qos)
    sent.wait_for_publish(timeout=20)  # QoS 1: PUBACK; QoS 2: PUBCOMP.
    if not sent.is_published():
        sys.exit(f"no acknowledgement at QoS {qos}; connected: {connected}")
client.disconnect()
client.loop_stop()
