// Takes a list apart while it comes: each item is handed out by itself and can be forgotten at once. Parsed whole, a page of Nodes
// makes the heap grow by many times its size, and it does not shrink again. Of JSON (RFC 8259) it knows no more than where
// strings and brackets begin and end; what is between them is JSON.parse's.

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Hands out the text of each object in `items`, and resolves with the list without them: text that is no list comes back whole. */
export async function splitItems(chunks: AsyncIterable<Uint8Array>, onItem: (text: string) => void): Promise<string> {
  const rest: Uint8Array[] = [];
  let item: Uint8Array[] = [];
  let [depth, isInString, isEscaped, isInItems] = [0, false, false, false];
  for await (const chunk of chunks) {
    /** Of what is not handed over yet. */
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (isInString) {
        isInString = isEscaped || byte !== quote;
        isEscaped = !isEscaped && byte === backslash;
      } else if (byte === quote) isInString = true;
      else if (byte === openBrace || byte === openBracket) {
        depth += 1;
        if (depth !== 2 || byte !== openBracket) continue;
        rest.push(chunk.subarray(start, at + 1));
        start = at + 1;
        isInItems = /"items"\s*:\s*\[$/.test(Buffer.concat(rest).toString());
      } else if (byte === closeBrace || byte === closeBracket) {
        depth -= 1;
        if (!isInItems || depth > 2) continue;
        if (depth === 2) onItem(Buffer.concat([...item, chunk.subarray(start, at + 1)]).toString());
        item = [];
        isInItems = depth === 2;
        start = isInItems ? at + 1 : at;
      } else if (byte === comma && depth === 2 && isInItems) start = at + 1;
    }
    (isInItems ? item : rest).push(chunk.subarray(start));
  }
  return Buffer.concat(rest).toString();
}
