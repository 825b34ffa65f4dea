import { conformsAsContentStore } from './conformance.ts';
import { MemoryContentStore } from './memory-store.ts';

conformsAsContentStore('MemoryContentStore', () => new MemoryContentStore());
