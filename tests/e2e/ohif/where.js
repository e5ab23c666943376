// Says how far down a web page a text stands, in pixels of a screen 1600 wide. Arguments: file, text.
const { chromium } = require(process.env.OHIF_CACHE + '/node_modules/playwright-core');
const [file, wanted] = process.argv.slice(2);

function top_of(text) {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.data.replace(/\s+/g, ' ').indexOf(text);
    if (at >= 0) {
      const range = document.createRange();
      range.selectNodeContents(walker.currentNode);
      return range.getBoundingClientRect().bottom;
    }
  }
  return null;
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-background-networking', '--no-first-run'],
  });
  const page = await browser.newPage({ viewport: { width: 1600, height: 950 } });
  await page.goto('file://' + file);
  console.log(JSON.stringify(await page.evaluate(top_of, wanted)));
  await browser.close();
})().catch(error => {
  console.error(String(error));
  process.exit(1);
});
