"""Two ends of WebRTC in one Chromium that meet over TURN alone: `turn_browser.py DIRECTORY JSON`.

JSON is an RTCIceServer. Prints what went through a data channel, and the chosen candidates' types;
the connection stays open until standard input ends.
"""

import json
import sys

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    *("--disable-background-networking", "--no-first-run", "--disable-component-update"),
    *("--disable-sync", "--disable-quic"),
)

SCRIPT = """
const [server, done] = arguments;
const configuration = {iceServers: [server], iceTransportPolicy: "relay"};
const ends = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
ends.forEach((end, index) => {
    end.onicecandidate = ({candidate}) => candidate && ends[1 - index].addIceCandidate(candidate);
});
const channel = ends[0].createDataChannel("data");
const size = 100000;  // many packets
channel.onopen = () => channel.send("x".repeat(size));
ends[1].ondatachannel = ({channel: other}) => {
    other.onmessage = ({data}) => other.send(data + "y");
};
channel.onmessage = async ({data}) => {
    const types = [];
    for (const end of ends) {
        const stats = await end.getStats();
        stats.forEach((report) => {
            if (report.type === "candidate-pair" && report.nominated) {
                types.push(stats.get(report.localCandidateId).candidateType);
                types.push(stats.get(report.remoteCandidateId).candidateType);
            }
        });
    }
    done({length: data.length, types});
};
(async () => {
    await ends[0].setLocalDescription(await ends[0].createOffer());
    await ends[1].setRemoteDescription(ends[0].localDescription);
    await ends[1].setLocalDescription(await ends[1].createAnswer());
    await ends[0].setRemoteDescription(ends[1].localDescription);
})();
"""


def main(directory: str, server: str) -> None:
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={directory}"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
    try:
        driver.set_script_timeout(30)
        print(json.dumps(driver.execute_async_script(SCRIPT, json.loads(server))), flush=True)
        sys.stdin.read()
    finally:
        driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
