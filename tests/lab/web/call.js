// One end of a call that goes through TURN alone. The page knows its account and the other end; all
// else it learns over XMPP: which relay node there is (XEP-0030), and the servers and credentials
// that this one gives (XEP-0215).

const DISCO = "http://jabber.org/protocol/disco";
const EXTERNAL_SERVICES = "urn:xmpp:extdisco:2";
const SIZE = 100000; // characters of a message on the data channel: many packets

function logIn(jid, password) {
    const connection = new Strophe.Connection(`wss://${location.host}/xmpp-websocket`);
    return new Promise((resolve, reject) => {
        connection.connect(jid, password, (status, condition) => {
            if (status === Strophe.Status.CONNECTED) resolve(connection);
            if ([Strophe.Status.CONNFAIL, Strophe.Status.AUTHFAIL].includes(status)) {
                reject(new Error(`${jid} cannot log in: ${condition}`));
            }
        });
    });
}

function ask(connection, to, query) {
    const iq = stx`<iq type="get" to="${to}" xmlns="jabber:client">${query}</iq>`;
    return new Promise((resolve, reject) => {
        const fail = (error) => reject(new Error(error ? Strophe.serialize(error) : "silence"));
        connection.sendIQ(iq, resolve, fail, 10000);
    });
}

async function findServers(connection) {
    const domain = Strophe.getDomainFromJid(connection.jid);
    const items = await ask(connection, domain, stx`<query xmlns="${DISCO}#items"/>`);
    for (const item of items.querySelectorAll("item")) {
        const jid = item.getAttribute("jid");
        const info = await ask(connection, jid, stx`<query xmlns="${DISCO}#info"/>`);
        const features = [...info.querySelectorAll("feature")];
        if (features.some((feature) => feature.getAttribute("var") === EXTERNAL_SERVICES)) {
            return {relay: jid, servers: await servers(connection, jid)};
        }
    }
    throw new Error(`${domain} has no item with ${EXTERNAL_SERVICES}`);
}

async function servers(connection, jid) {
    const query = stx`<services xmlns="${EXTERNAL_SERVICES}" type="turn"/>`;
    const answer = await ask(connection, jid, query);
    return [...answer.querySelectorAll("service")].map((service) => {
        const [host, port, transport, username, credential] = [
            "host", "port", "transport", "username", "password",
        ].map((name) => service.getAttribute(name));
        const address = host.includes(":") ? `[${host}]` : host;
        return {urls: `turn:${address}:${port}?transport=${transport}`, username, credential};
    });
}

function tone() {
    const context = new AudioContext();
    const oscillator = new OscillatorNode(context);
    const destination = new MediaStreamAudioDestinationNode(context);
    oscillator.connect(destination);
    oscillator.start();
    return destination.stream;
}

function signalling(connection, peer, end) {
    const send = (signal) => {
        const body = JSON.stringify(signal);
        connection.send(
            stx`<message to="${peer}" type="chat" xmlns="jabber:client"><body>${body}</body></message>`
        );
    };
    end.onicecandidate = ({candidate}) => candidate && send({candidate});
    let order = Promise.resolve(); // what comes is to be taken in one after the other
    const take = async ({description, candidate}) => {
        if (candidate) await end.addIceCandidate(candidate);
        if (!description) return;
        await end.setRemoteDescription(description);
        if (description.type === "offer") {
            await end.setLocalDescription();
            send({description: end.localDescription});
        }
    };
    connection.addHandler((message) => {
        if (message.getAttribute("from") === peer) {
            const signal = JSON.parse(message.querySelector("body").textContent);
            order = order.then(() => take(signal));
        }
        return true;
    }, null, "message", "chat");
    return send;
}

function echo(channel) {
    channel.onmessage = ({data}) => channel.send(data + "y");
}

function answered(channel) {
    return new Promise((resolve) => {
        channel.onopen = () => channel.send("x".repeat(SIZE));
        channel.onmessage = ({data}) => resolve(data.length);
    });
}

async function heard(end, seconds) {
    // Audio that was not only received but decoded, and is no silence.
    for (;;) {
        for (const one of (await end.getStats()).values()) {
            const isAudio = one.type === "inbound-rtp" && one.kind === "audio";
            if (isAudio && one.totalSamplesDuration >= seconds && one.totalAudioEnergy > 0) {
                return {packets: one.packetsReceived, bytes: one.bytesReceived};
            }
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

async function chosenPair(end) {
    const stats = await end.getStats();
    const transport = [...stats.values()].find((one) => one.type === "transport");
    const pair = stats.get(transport.selectedCandidatePairId);
    const types = [pair.localCandidateId, pair.remoteCandidateId].map(
        (id) => stats.get(id).candidateType
    );
    return {types, sent: pair.bytesSent, received: pair.bytesReceived};
}

// Logs in, finds the servers, and is ready for the other end.
async function prepare(jid, password, peer) {
    const connection = await logIn(jid, password);
    const {relay, servers: iceServers} = await findServers(connection);
    const end = new RTCPeerConnection({iceServers, iceTransportPolicy: "relay"});
    const send = signalling(connection, peer, end);
    const stream = tone();
    end.addTrack(stream.getAudioTracks()[0], stream);
    end.ontrack = ({streams}) => {
        const speaker = new Audio(); // what nobody plays is not decoded
        speaker.srcObject = streams[0];
        speaker.play();
    };
    end.ondatachannel = ({channel}) => echo(channel);
    window.call = {connection, end, send};
    return {relay, urls: iceServers.map(({urls}) => urls)};
}

// Calls the other end; what it has sent back of a message.
async function callPeer() {
    const {end, send} = window.call;
    const length = answered(end.createDataChannel("data"));
    await end.setLocalDescription();
    send({description: end.localDescription});
    return length;
}

// What the call was like, once it has been heard for some seconds.
async function report(seconds) {
    const {end} = window.call;
    const audio = await heard(end, seconds);
    return {audio, pair: await chosenPair(end)};
}
