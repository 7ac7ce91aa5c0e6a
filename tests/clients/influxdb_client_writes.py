"""influxdb_client_writes.py PORT DEVICE TIME_NS: writes the two known readings with InfluxDB's own client, gzip on."""
import sys

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS

port, device, time_ns = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

with InfluxDBClient(f"http://127.0.0.1:{port}", token="any", org="any", timeout=20_000, enable_gzip=True) as client:
    with client.write_api(write_options=SYNCHRONOUS) as write:
        climate = (
            Point("climate").tag("device", device).field("t", 21.5).field("on", True).field("mode", "auto")
            .time(time_ns, WritePrecision.NS)
        )
        meter = f"meter,device={device} count=-42i,total=7u,power=230.25 {time_ns}"
        write.write(bucket="any", record=[climate, meter])  # Raises unless it is answered 204.
