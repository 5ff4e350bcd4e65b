// Text as UTF-8 bytes and back: QuickJS, which runs the component, has no TextDecoder.

/** Bytes that become characters at once: few enough to be arguments of a call. */
const PIECE = 8192;

export function decode(bytes) {
  let each = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    each += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return decodeURIComponent(escape(each));
}

export function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (byte) => byte.charCodeAt(0));
}
