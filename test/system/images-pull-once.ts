/** A process of its own that pulls one image, to be killed in the middle: `images-pull-once.ts <root> <name>`. */
import { openImages } from './images-fixture.ts';

const [root, name] = process.argv.slice(2);
const engine = await openImages(root!);
console.log('begun');
for await (const _ of engine.images.pull(name!, {}));
console.log('done');
